"""Every manifest of the overlays and of the chart, taken by a real API server.

kube-apiserver and kubectl are built from their Go module, etcd is Debian's, and the definitions of
the Prometheus operator and of KEDA come out of theirs. There is no kubelet: what is asked is whether
the API server admits the objects, and a pod of each, under Pod Security "restricted".
"""

import copy
import json
import os
import pathlib
import ssl
import subprocess
import unittest
import urllib.error
import urllib.request

import yaml

from rendering import EVERYTHING, OVERLAYS, helm, kustomize, kustomize_with_components
from support import Case, await_condition, free_port, run

PROGRAMS = pathlib.Path(os.environ["TICKCAST_TOOLS"]) / "kubernetes"
TOKEN = "only-for-this-test"
# Each module with the hash of its content, and the definitions that are taken from it.
DEFINITIONS = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        ["example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
         "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"],
    ),
    "github.com/kedacore/keda/v2@v2.21.0": (
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        ["config/crd/bases/keda.sh_scaledobjects.yaml"],
    ),
}
CUSTOM = {"PrometheusRule", "ScaledObject", "ServiceMonitor"}


class Cluster:
    """An API server on an etcd of its own."""

    def __init__(self, case):
        self.folder = case.folder
        store, peer, port = free_port(), free_port(), free_port()
        case.spawn("etcd", [
            "etcd", "--data-dir", self.folder / "etcd", "--log-level", "error",
            "--listen-client-urls", f"http://127.0.0.1:{store}",
            "--advertise-client-urls", f"http://127.0.0.1:{store}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        ])
        key = self.folder / "accounts.key"
        run("openssl", "genrsa", "-out", key, "2048")
        (self.folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        self.address = f"https://127.0.0.1:{port}"
        self.process = case.spawn("apiserver", [
            PROGRAMS / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}",
            "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--cert-dir={self.folder}/certificates", "--authorization-mode=RBAC",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/24",
        ])
        # Its certificate is one that it made for itself.
        self.trust = ssl._create_unverified_context()

        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the API server ended:\n{case.log('apiserver')}")
            request = urllib.request.Request(f"{self.address}/readyz",
                                             headers={"Authorization": f"Bearer {TOKEN}"})
            try:
                with urllib.request.urlopen(request, context=self.trust, timeout=10) as answer:
                    return answer.status == 200
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        await_condition("the API server", is_ready, seconds=300)

    def kubectl(self, *arguments, text=None):
        return subprocess.run(
            [PROGRAMS / "kubectl", f"--server={self.address}", f"--token={TOKEN}",
             "--insecure-skip-tls-verify", f"--cache-dir={self.folder}/kubectl", *arguments],
            input=text, text=True, capture_output=True, env={**os.environ, "KUBECONFIG": os.devnull})

    def apply(self, resources):
        return self.kubectl("apply", "--server-side", "--filename=-",
                            text=yaml.safe_dump_all(resources))


def definitions():
    for module, (wanted, files) in DEFINITIONS.items():
        said = run("go", "mod", "download", "-json", module, cwd="/",
                   env={**os.environ, "GOFLAGS": "-mod=mod"})
        found = json.loads(said)
        if found["Sum"] != wanted:
            raise AssertionError(f"{module} has the hash {found['Sum']}")
        for file in files:
            yield pathlib.Path(found["Dir"]) / file


def in_order(resources):
    """Namespaces before what is in them."""
    return sorted(resources.values(), key=lambda each: each["kind"] != "Namespace")


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }}}


def pod_of(resources):
    """The pod that the controller would make, which claims its volume by name."""
    [stateful] = [each for each in resources.values() if each["kind"] == "StatefulSet"]
    template = copy.deepcopy(stateful["spec"]["template"])
    name = f"{stateful['metadata']['name']}-0"
    template["spec"]["volumes"].append(
        {"name": "state", "persistentVolumeClaim": {"claimName": f"state-{name}"}})
    return {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "metadata": {
        **template["metadata"], "name": name, "namespace": stateful["metadata"]["namespace"]}}


class ApiServer(Case):
    def test_it_admits_every_manifest_and_a_pod_of_each(self):
        cluster = Cluster(self)
        # Without the definitions of others: an overlay and the chart as they ship.
        for overlay in OVERLAYS:
            for resources in (kustomize(overlay), self.chart(overlay, f"plain-{overlay}")):
                self.admit(cluster, resources)
        refused = cluster.apply(in_order(kustomize_with_components("kafka", self.folder)))
        self.assertNotEqual(refused.returncode, 0)
        for kind in CUSTOM:
            self.assertIn(f'no matches for kind "{kind}"', refused.stderr)

        files = list(definitions())
        for file in files:
            done = cluster.kubectl("apply", "--server-side", f"--filename={file}")
            self.assertEqual(done.returncode, 0, done.stderr)
        done = cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s",
                               "customresourcedefinitions", "--all")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("condition met"), len(files))
        for overlay in OVERLAYS:
            full = kustomize_with_components(overlay, self.folder)
            chart = self.chart(overlay, f"full-{overlay}", *EVERYTHING[overlay])
            for resources in (full, chart):
                self.admit(cluster, resources)

        # What one would get wrong is refused: by Pod Security, and by the schema.
        good = pod_of(kustomize("websocket"))
        for wrong in ({"hostNetwork": True}, {"securityContext": {"runAsUser": 0}}):
            pod = copy.deepcopy(good)
            pod["metadata"]["name"] = "wrong"
            pod["spec"].update(wrong)
            refused = cluster.apply([pod])
            self.assertIn('violates PodSecurity "restricted', refused.stderr)
        stateful = kustomize("websocket")["StatefulSet", "tickcast"]
        stateful["spec"]["nonsense"] = True
        self.assertIn("nonsense", cluster.apply([stateful]).stderr)

    def chart(self, overlay, name, *sets):
        resources = helm(overlay, *sets, namespace=name)
        return {("Namespace", name): namespace(name), **resources}

    def admit(self, cluster, resources):
        done = cluster.apply(in_order(resources))
        self.assertEqual(done.returncode, 0, done.stderr)
        # Pod Security warns about a workload whose pods it would refuse.
        self.assertNotIn("Warning", done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), len(resources))
        done = cluster.apply([pod_of(resources)])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("serverside-applied", done.stdout)
        where = pod_of(resources)["metadata"]
        cluster.kubectl("delete", "--wait=false", "--namespace", where["namespace"], "pod",
                        where["name"])


if __name__ == "__main__":
    unittest.main()
