"""PSPNet and its models: the room of torch. Cards and names are read without it."""
