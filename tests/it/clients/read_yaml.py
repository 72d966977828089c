"""Reads YAML from standard input, as PyYAML does, which comes with schemathesis, and prints it as JSON."""

import json
import sys

import yaml

json.dump(yaml.safe_load(sys.stdin), sys.stdout)
