"""MAD model repositories, read as they are: models.json in its three forms, Dockerfiles by header, tools.json."""
