"""Names of environment variables that branchtrack reads, or sets for processes it starts."""

#: The folder of a home, and the URL of a database outside it.
HOME_VARIABLE = "BRANCHTRACK_HOME"
DATABASE_VARIABLE = "BRANCHTRACK_DATABASE_URL"
#: The bucket that holds the packs, and the bytes that copies of packs, and packs that wait for the
#: bucket, may take of this machine's disk.
STORE_VARIABLE = "BRANCHTRACK_STORE"
STORE_CACHE_VARIABLE = "BRANCHTRACK_STORE_CACHE"
STORE_SPOOL_VARIABLE = "BRANCHTRACK_STORE_SPOOL"
#: Set to 1, a training that cannot be recorded is refused, or raises at its end.
REQUIRE_VARIABLE = "BRANCHTRACK_REQUIRE"
#: Makes a command continue what it began before: the newest run (1), or the named run.
CONTINUE_VARIABLE = "BRANCHTRACK_CONTINUE"
#: A recording of changes that the first training of a process makes again.
REPLAY_VARIABLE = "BRANCHTRACK_REPLAY"
#: Set to 0, the uncommitted difference of the code is not recorded.
DIFF_VARIABLE = "BRANCHTRACK_RECORD_DIFF"
#: Set to 0, CPU, memory and GPUs are not recorded.
SYSTEM_VARIABLE = "BRANCHTRACK_SYSTEM"
#: Set to 1, a refusal is printed with its traceback.
DEBUG_VARIABLE = "BRANCHTRACK_DEBUG"
#: The bytes that the log of a launch may have.
LOG_LIMIT_VARIABLE = "BRANCHTRACK_LOG_LIMIT"
#: The days that deleted runs and branches stay in the trash.
TRASH_VARIABLE = "BRANCHTRACK_TRASH_DAYS"
#: Where alerts are sent: a URL, the secret that signs them, the least urgent level that is sent,
#: and 1 to let the URL lead to a private address.
WEBHOOK_VARIABLE = "BRANCHTRACK_WEBHOOK_URL"
WEBHOOK_SECRET_VARIABLE = "BRANCHTRACK_WEBHOOK_SECRET"
WEBHOOK_LEVEL_VARIABLE = "BRANCHTRACK_WEBHOOK_LEVEL"
WEBHOOK_PRIVATE_VARIABLE = "BRANCHTRACK_WEBHOOK_ALLOW_PRIVATE"
#: Addresses as `apprise` spells them, separated by blanks, to which alerts are sent as well.
APPRISE_VARIABLE = "BRANCHTRACK_APPRISE"
#: The address of a server, and a token for it, of `branchtrack.Client`.
URL_VARIABLE = "BRANCHTRACK_URL"
TOKEN_VARIABLE = "BRANCHTRACK_TOKEN"

#: The key of a language model's endpoint, and the one of others' programs that is read without it.
LLM_KEY_VARIABLE = "BRANCHTRACK_LLM_KEY"
OPENAI_API_KEY = "OPENAI_API_KEY"

#: Names the launch that a process carries out.
LAUNCH_VARIABLE = "BRANCHTRACK_LAUNCH"
#: Names the trial of exactness that a process carries out (see `core.exactness.Trial`).
CERTIFY_VARIABLE = "BRANCHTRACK_CERTIFY"
#: Describes the merge that a process carries out (see `core.forks.merges.Merge`).
MERGE_VARIABLE = "BRANCHTRACK_MERGE"
#: Names the request that a rewound process continues to answer.
REWIND_VARIABLE = "BRANCHTRACK_REWIND"
#: Says that a rewound process was started for one training of its script alone.
ALONE_VARIABLE = "BRANCHTRACK_ALONE"
