"""The manifests of deploy/ as a cluster gets them, from Kustomize and from Helm."""

import os
import pathlib
import shutil
import subprocess

import yaml

from support import DEPLOY, run

OVERLAYS = ["websocket", "kafka"]
CHART = DEPLOY / "helm/tickcast"
# What switches on in the chart what the components are for the overlays.
EVERYTHING = {
    "websocket": ["serviceMonitor.enabled=true", "prometheusRule.enabled=true",
                  "dashboards.enabled=true"],
    "kafka": ["serviceMonitor.enabled=true", "prometheusRule.enabled=true",
              "dashboards.enabled=true", "autoscaling.enabled=true"],
}


def by_name(text):
    resources = {}
    for each in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if each is not None:
            key = each["kind"], each["metadata"]["name"]
            assert key not in resources, key
            resources[key] = each
    return resources


def kustomize(overlay, deploy=DEPLOY):
    """An overlay as it ships."""
    folder = pathlib.Path(deploy) / "kubernetes/overlays" / overlay
    return by_name(run(*os.environ["TICKCAST_KUSTOMIZE"].split(), folder))


def kustomize_with_components(overlay, folder):
    """An overlay with the components that its comment lists, each line uncommented."""
    deploy = folder / f"deploy-{overlay}"
    for part in ("kubernetes", "grafana"):
        shutil.copytree(DEPLOY / part, deploy / part, dirs_exist_ok=True)
    file = deploy / "kubernetes/overlays" / overlay / "kustomization.yaml"
    text = file.read_text()
    listed = text.count("\n#   - ../../components/")
    assert listed == {"websocket": 2, "kafka": 3}[overlay], file
    text = text.replace("\n# components:\n", "\ncomponents:\n")
    file.write_text(text.replace("\n#   - ../../components/", "\n  - ../../components/"))
    return kustomize(overlay, deploy)


def helm_command(*arguments):
    return [os.environ["TICKCAST_HELM"], *arguments]


def values_of(overlay):
    """The options by which the chart gives an overlay."""
    return ["--values", CHART / "values-kafka.yaml"] if overlay == "kafka" else []


def helm(overlay, *sets, release="tickcast", namespace="tickcast"):
    options = [option for each in sets for option in ("--set", each)]
    # The chart's links to the rules and dashboards are mentioned on standard error.
    done = subprocess.run(
        helm_command("template", release, CHART, "--namespace", namespace, *values_of(overlay),
                     *options), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return by_name(done.stdout)
