"""The commands of ``kalends``, one file per group; each is imported only when it is asked for."""
