"""The manifests: built by kustomize, held against schemas, and against what they promise.

Schemas of Kubernetes come with the package kubernetes-validate, those of KEDA and of the Prometheus
operator as cloudcoil's models of their definitions. No cluster is asked.
"""

import os
import re
import unittest

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as operator

from support import DEPLOY, Case, check_settings, run

OVERLAYS = ["websocket", "kafka"]
KUBERNETES_VERSION = "1.34"
CUSTOM = {"ScaledObject": keda.ScaledObject, "ServiceMonitor": operator.ServiceMonitor}


def build(overlay):
    folder = DEPLOY / "kubernetes/overlays" / overlay
    text = run(*os.environ["TICKCAST_KUSTOMIZE"].split(), folder)
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


def validate(resource):
    """Fails for a field that the schema does not know or that has the wrong type."""
    model = CUSTOM.get(resource["kind"])
    if model is None:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)
        return
    # The models leave unknown fields out, so what comes back must be what went in.
    back = model.model_validate(resource).model_dump(by_alias=True, exclude_unset=True, mode="json")
    if back != resource:
        raise ValueError(f"{resource['kind']}: of {resource} the schema knows {back}")


class Manifests(Case):
    def test_every_resource_meets_its_schema_and_a_wrong_one_does_not(self):
        for overlay in OVERLAYS:
            resources = build(overlay)
            kinds = sorted(kind for kind, _ in resources)
            wanted = ["ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service",
                      "ServiceAccount", "ServiceMonitor", "StatefulSet"]
            wanted += ["ScaledObject"] if overlay == "kafka" else []
            self.assertEqual(kinds, sorted(wanted))
            for (kind, name), resource in resources.items():
                with self.subTest(overlay=overlay, kind=kind):
                    validate(resource)
                    resource["spec" if "spec" in resource else "metadata"]["nonsense"] = True
                    with self.assertRaises(Exception):
                        validate(resource)

    def test_pods_are_restricted(self):
        for overlay in OVERLAYS:
            resources = build(overlay)
            namespace = resources["Namespace", "tickcast"]["metadata"]["labels"]
            self.assertEqual(namespace["pod-security.kubernetes.io/enforce"], "restricted")
            pod = resources["StatefulSet", "tickcast"]["spec"]["template"]["spec"]
            # The rules of the level "restricted", and a little more.
            self.assertIs(pod["automountServiceAccountToken"], False)
            account = resources["ServiceAccount", "tickcast"]
            self.assertIs(account["automountServiceAccountToken"], False)
            self.assertFalse(set(pod) & {"hostNetwork", "hostPID", "hostIPC"})
            context = pod["securityContext"]
            self.assertIs(context["runAsNonRoot"], True)
            self.assertGreater(context["runAsUser"], 0)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            for volume in pod["volumes"]:
                self.assertTrue(set(volume) <= {"name", "configMap"}, volume)
            [container] = pod["containers"]
            self.assertEqual(container["securityContext"], {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            })
            self.assertFalse(any("hostPort" in port for port in container["ports"]))

    def test_names_and_ports_agree(self):
        for overlay in OVERLAYS:
            resources = build(overlay)
            of = lambda kind: next(each for (k, _), each in resources.items() if k == kind)
            stateful = of("StatefulSet")
            labels = {"app.kubernetes.io/name": "tickcast"}
            self.assertEqual(stateful["spec"]["template"]["metadata"]["labels"], labels)
            self.assertEqual(stateful["spec"]["selector"]["matchLabels"], labels)
            self.assertEqual(of("Service")["spec"]["selector"], labels)
            self.assertEqual(of("Service")["metadata"]["labels"], labels)
            self.assertEqual(stateful["spec"]["serviceName"], of("Service")["metadata"]["name"])
            self.assertEqual(of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
            self.assertEqual(of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)
            self.assertEqual(of("ServiceMonitor")["spec"]["selector"]["matchLabels"], labels)
            self.assertEqual(of("ServiceMonitor")["spec"]["jobLabel"], "app.kubernetes.io/name")
            self.assertEqual({each["metadata"].get("namespace", "tickcast")
                              for each in resources.values()}, {"tickcast"})

            pod = stateful["spec"]["template"]["spec"]
            [container] = pod["containers"]
            [port] = container["ports"]
            self.assertEqual((port["name"], port["containerPort"]), ("http", 9630))
            for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez",
                                "readinessProbe": "/readyz"}.items():
                self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})
            [monitored] = of("ServiceMonitor")["spec"]["endpoints"]
            [served] = of("Service")["spec"]["ports"]
            self.assertEqual((monitored["port"], monitored["path"]), (served["name"], "/metrics"))
            [ingress] = of("NetworkPolicy")["spec"]["ingress"]
            self.assertEqual(ingress["ports"], [{"port": "http", "protocol": "TCP"}])
            self.assertEqual(len(of("NetworkPolicy")["spec"]["egress"]), 2)
            # The daemon's own deadline is 10 s.
            self.assertGreater(pod["terminationGracePeriodSeconds"], 10)
            requests, limits = (container["resources"][of] for of in ("requests", "limits"))
            self.assertEqual((requests["memory"], limits["memory"]), ("128Mi", "512Mi"))
            self.assertNotIn("cpu", limits)
            # Its settings are mounted under the name with the hash, so that a change rolls the pods.
            name = of("ConfigMap")["metadata"]["name"]
            self.assertRegex(name, r"^tickcast-[a-z0-9]{10}$")
            self.assertEqual(pod["volumes"], [{"name": "config", "configMap": {"name": name}}])

    def test_the_daemon_takes_the_settings(self):
        for overlay in OVERLAYS:
            resources = build(overlay)
            [text] = [each["data"]["tickcast.toml"] for (kind, _), each in resources.items()
                      if kind == "ConfigMap"]
            pod = resources["StatefulSet", "tickcast"]["spec"]["template"]["spec"]
            [container] = pod["containers"]
            variables = {each["name"]: each.get("value", "tickcast-0") for each in container["env"]}
            check_settings(self, overlay, text, variables)

    def test_the_autoscaler_knows_the_group_and_the_topic(self):
        resources = build("kafka")
        scaled = resources["ScaledObject", "tickcast"]["spec"]
        target = resources["StatefulSet", scaled["scaleTargetRef"]["name"]]
        self.assertEqual(scaled["scaleTargetRef"]["kind"], target["kind"])
        self.assertNotIn("replicas", target["spec"])
        [text] = [each["data"]["tickcast.toml"] for (kind, _), each in resources.items()
                  if kind == "ConfigMap"]
        [trigger] = scaled["triggers"]
        for name, key in {"bootstrapServers": "brokers", "consumerGroup": "group"}.items():
            self.assertIn(f'{key} = "{trigger["metadata"][name]}"', text)
        self.assertIn(f'topics = ["{trigger["metadata"]["topic"]}"]', text)
        self.assertIn("static_membership = true", text)
        [named] = [each for each in
                   target["spec"]["template"]["spec"]["containers"][0]["env"]
                   if each["name"] == "TICKCAST__KAFKA__INSTANCE"]
        self.assertEqual(named["valueFrom"], {"fieldRef": {"fieldPath": "metadata.name"}})
        self.assertTrue(re.fullmatch(r"\d+", trigger["metadata"]["lagThreshold"]))


if __name__ == "__main__":
    unittest.main()
