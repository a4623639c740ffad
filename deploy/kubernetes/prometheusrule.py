"""The rules of deploy/prometheus as a PrometheusRule: writes the manifest of the component
prometheus-operator, or with --check tells whether it differs.

    python3 deploy/kubernetes/prometheusrule.py

The operator takes the groups as they are, so their lines are copied with their comments.
"""

import pathlib
import sys

DEPLOY = pathlib.Path(__file__).parents[1]
MANIFEST = DEPLOY / "kubernetes/components/prometheus-operator/prometheusrule.yaml"
HEAD = """\
# Written by deploy/kubernetes/prometheusrule.py out of deploy/prometheus/*.rules.yml: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tickcast
  labels:
    app.kubernetes.io/name: tickcast
spec:
  groups:
"""


def manifest():
    text = HEAD
    for name in ("recording", "alerts"):
        rules = (DEPLOY / f"prometheus/{name}.rules.yml").read_text()
        _, groups = rules.split("\ngroups:\n")
        text += "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return text


def main():
    if sys.argv[1:] != ["--check"]:
        MANIFEST.write_text(manifest())
    elif not MANIFEST.exists() or MANIFEST.read_text() != manifest():
        sys.exit(f"{MANIFEST} is not what deploy/kubernetes/prometheusrule.py writes: run it")


if __name__ == "__main__":
    main()
