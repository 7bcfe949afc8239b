"""Names of environment variables that branchtrack reads, or gives to processes it starts."""

#: The folder of a home, and the URL of a database that is not in it.
HOME_VARIABLE = "BRANCHTRACK_HOME"
DATABASE_VARIABLE = "BRANCHTRACK_DATABASE_URL"
#: Set to 1, a training whose record cannot be kept is refused or raises at its end.
REQUIRE_VARIABLE = "BRANCHTRACK_REQUIRE"
#: Has a command continue what it began before: the newest run (1), or the run that it names.
CONTINUE_VARIABLE = "BRANCHTRACK_CONTINUE"
#: Set to 1, a refusal is printed with its traceback.
DEBUG_VARIABLE = "BRANCHTRACK_DEBUG"

#: Tells a process which launch it carries out.
LAUNCH_VARIABLE = "BRANCHTRACK_LAUNCH"
#: Tells a process which trial of exactness it is (see `core.exactness.Trial`).
CERTIFY_VARIABLE = "BRANCHTRACK_CERTIFY"
#: Tells a rewound process which request it goes on to answer.
REWIND_VARIABLE = "BRANCHTRACK_REWIND"
#: Tells a rewound process that it had been started for one training of its script alone.
ALONE_VARIABLE = "BRANCHTRACK_ALONE"
