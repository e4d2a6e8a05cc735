"""Images, files, processes and errors: what every part of the system uses."""
