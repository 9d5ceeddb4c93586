"""The demo: a short story on a real instance, told through the public API only, that checks every answer it shows.

Belongs here: the story, its data and its instance. Does not belong here: anything the server needs. A newcomer would get wrong: a demo that
shows a wrong answer must fail, so each scene ends in checks and the exit code tells.
"""
