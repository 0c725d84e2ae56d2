"""From YAML configs (yacs nodes) to schema: the only files that know the keys' names."""
