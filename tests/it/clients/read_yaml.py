"""Reads YAML from standard input, as PyYAML does, which comes with schemathesis, and prints it as JSON: the one document,
or with --all a list of all."""

import json
import sys

import yaml

if sys.argv[1:] == ["--all"]:
    json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)
else:
    json.dump(yaml.safe_load(sys.stdin), sys.stdout)
