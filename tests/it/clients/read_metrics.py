"""Reads OpenMetrics text from standard input as Prometheus' own client for Python does, which is strict, and prints it
as JSON: for each sample its name, its labels and its value, and last the types of the families by their names.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
samples = [[sample.name, sample.labels, sample.value] for family in families for sample in family.samples]
json.dump([samples, {family.name: family.type for family in families}], sys.stdout)
