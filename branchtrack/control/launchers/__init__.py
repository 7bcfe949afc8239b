"""Where a launch is carried out if not by a worker of the home: profiles of clusters' options."""
