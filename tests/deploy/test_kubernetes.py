"""The manifests: built by Kustomize and by Helm, held against schemas and what they promise.

Schemas of Kubernetes come with the package kubernetes-validate, those of KEDA and of the Prometheus
operator as cloudcoil's models of their definitions. `make test-kubernetes` asks a real API server.
"""

import copy
import json
import re
import shutil
import subprocess
import unittest

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as operator

import policies
from policies import Outside, Pod
from rendering import (
    CHART, EVERYTHING, OVERLAYS, helm, helm_command, kustomize, kustomize_with_components,
    values_of,
)
from support import DEPLOY, REPOSITORY, Case, check_settings, run

KUBERNETES_VERSION = "1.34"
CUSTOM = {
    "PrometheusRule": operator.PrometheusRule,
    "ScaledObject": keda.ScaledObject,
    "ServiceMonitor": operator.ServiceMonitor,
}
DASHBOARDS = ["feed-and-kafka", "latency", "overview", "quality"]
# What any cluster has, and what needs definitions of its own.
PLAIN = ["ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service",
         "ServiceAccount", "StatefulSet"]
LABELS = {"app.kubernetes.io/name": "tickcast"}


def kinds(resources):
    return sorted(kind for kind, _ in resources)


def of(resources, kind):
    """The resource of a kind of which there is one."""
    [only] = [each for (of_kind, _), each in resources.items() if of_kind == kind]
    return only


def settings(resources):
    [text] = [each["data"]["tickcast.toml"] for (kind, _), each in resources.items()
              if kind == "ConfigMap" and "tickcast.toml" in each["data"]]
    return text


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
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = {overlay: kustomize(overlay) for overlay in OVERLAYS}
        cls.full = {overlay: kustomize_with_components(overlay, cls.folder) for overlay in OVERLAYS}
        cls.chart = {overlay: helm(overlay, *EVERYTHING[overlay]) for overlay in OVERLAYS}

    def renderings(self):
        for overlay in OVERLAYS:
            yield f"{overlay}", overlay, self.plain[overlay]
            yield f"{overlay} with components", overlay, self.full[overlay]
            yield f"{overlay} from the chart", overlay, self.chart[overlay]

    def test_an_overlay_alone_has_no_kind_that_needs_definitions(self):
        for overlay in OVERLAYS:
            self.assertEqual(kinds(self.plain[overlay]), PLAIN)
            more = ["ConfigMap"] * len(DASHBOARDS) + ["PrometheusRule", "ServiceMonitor"]
            more += ["ScaledObject"] if overlay == "kafka" else []
            self.assertEqual(kinds(self.full[overlay]), sorted(PLAIN + more))
            without_namespace = [kind for kind in PLAIN if kind != "Namespace"]
            self.assertEqual(kinds(self.chart[overlay]), sorted(without_namespace + more))
            self.assertEqual(kinds(helm(overlay)), without_namespace)

    def test_every_resource_meets_its_schema_and_a_wrong_one_does_not(self):
        seen = 0
        for rendering, _, resources in self.renderings():
            for (kind, name), resource in resources.items():
                with self.subTest(rendering=rendering, kind=kind, name=name):
                    resource = copy.deepcopy(resource)
                    validate(resource)
                    resource["spec" if "spec" in resource else "metadata"]["nonsense"] = True
                    with self.assertRaises(Exception):
                        validate(resource)
                    seen += 1
        # Seven plain kinds each; with components the rules, the monitor, four dashboards; KEDA's
        # with Kafka alone. The chart makes no namespace.
        self.assertEqual(seen, 2 * 7 + (13 + 14) + (12 + 13))

    def test_pods_are_restricted(self):
        for rendering, _, resources in self.renderings():
            with self.subTest(rendering=rendering):
                if ("Namespace", "tickcast") in resources:
                    labels = resources["Namespace", "tickcast"]["metadata"]["labels"]
                    self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")
                self.check_restricted(of(resources, "StatefulSet")["spec"]["template"]["spec"])
                account = of(resources, "ServiceAccount")
                self.assertIs(account["automountServiceAccountToken"], False)

    def check_restricted(self, pod):
        # The rules of the level "restricted", and a little more.
        self.assertIs(pod["automountServiceAccountToken"], False)
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
        for rendering, overlay, resources in self.renderings():
            with self.subTest(rendering=rendering):
                self.check_names_and_ports(resources)
                self.assertEqual({each["metadata"].get("namespace", "tickcast")
                                  for each in resources.values()}, {"tickcast"})
        # Its settings are mounted under the name with the hash, so that a change rolls the pods.
        for overlay in OVERLAYS:
            volume = of(self.plain[overlay], "StatefulSet")["spec"]["template"]["spec"]["volumes"]
            name = of(self.plain[overlay], "ConfigMap")["metadata"]["name"]
            self.assertRegex(name, r"^tickcast-[a-z0-9]{10}$")
            self.assertEqual(volume, [{"name": "config", "configMap": {"name": name}}])

    def check_names_and_ports(self, resources):
        stateful = of(resources, "StatefulSet")
        labels = stateful["spec"]["selector"]["matchLabels"]
        self.assertEqual(labels | LABELS, labels)
        self.assertEqual(stateful["spec"]["template"]["metadata"]["labels"], labels)
        self.assertEqual(stateful["spec"]["serviceName"],
                         of(resources, "Service")["metadata"]["name"])
        disruption = of(resources, "PodDisruptionBudget")
        self.assertEqual(disruption["spec"]["selector"]["matchLabels"], labels)

        pod = stateful["spec"]["template"]["spec"]
        [spread] = pod["topologySpreadConstraints"]
        self.assertEqual(spread["labelSelector"]["matchLabels"], labels)
        [container] = pod["containers"]
        [port] = container["ports"]
        self.assertEqual((port["name"], port["containerPort"]), ("http", 9630))
        for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez",
                            "readinessProbe": "/readyz"}.items():
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})
        [served] = of(resources, "Service")["spec"]["ports"]
        self.assertEqual((served["name"], served["port"], served["targetPort"]),
                         ("http", 9630, "http"))
        # The daemon's own deadline is 10 s.
        self.assertGreater(pod["terminationGracePeriodSeconds"], 10)
        if "ServiceMonitor" not in kinds(resources):
            return
        monitor = of(resources, "ServiceMonitor")["spec"]
        service = of(resources, "Service")["metadata"]
        self.assertTrue(policies.selects(monitor["selector"], service["labels"]))
        # The job's name comes from this label, and the alerts choose by it.
        self.assertEqual(service["labels"][monitor["jobLabel"]], "tickcast")
        [endpoint] = monitor["endpoints"]
        self.assertEqual((endpoint["port"], endpoint["path"]), (served["name"], "/metrics"))

    def test_the_memory_asked_for_is_what_the_page_counts(self):
        page = (REPOSITORY / "docs/operating.md").read_text()
        process, queue = (float(re.search(pattern, page)[1]) for pattern in (
            r"Memory is about (\d+) MB", r"`source.queue_bytes_max` \((\d+) MB\)"))
        per_symbol = float(re.search(r"\| memory of a symbol \| ([\d.]+) KB", page)[1])
        default = (REPOSITORY / "config/default.toml").read_text()
        engine = default[default.index("\n[engine]\n"):]
        symbols, shards = (int(re.search(rf"(?m)^{key} = (\d+)$", engine)[1])
                           for key in ("symbols_max", "shards"))
        needed = (process + shards * queue) * 1e6 + symbols * per_symbol * 1e3
        self.assertGreater(needed, 380e6)
        for rendering, _, resources in self.renderings():
            with self.subTest(rendering=rendering):
                [container] = of(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"]
                requests, limits = (container["resources"][which]
                                    for which in ("requests", "limits"))
                asked, most = (int(each["memory"].removesuffix("Mi")) * 2**20
                               for each in (requests, limits))
                self.assertGreaterEqual(asked, needed)
                self.assertGreater(most, 1.2 * needed)
                self.assertNotIn("cpu", limits)

    def test_the_daemon_takes_the_settings(self):
        for overlay in OVERLAYS:
            resources = self.plain[overlay]
            [container] = of(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"]
            variables = {each["name"]: each.get("value", "tickcast-0") for each in container["env"]}
            check_settings(self, overlay, settings(resources), variables)

    def test_rules_and_dashboards_are_those_of_deploy(self):
        run("python3", DEPLOY / "kubernetes/prometheusrule.py", "--check")
        groups = []
        for name in ("recording", "alerts"):
            text = (DEPLOY / f"prometheus/{name}.rules.yml").read_text()
            groups += yaml.safe_load(text)["groups"]
        self.assertGreater(sum(len(group["rules"]) for group in groups), 30)
        for overlay in OVERLAYS:
            for resources in (self.full[overlay], self.chart[overlay]):
                self.assertEqual(of(resources, "PrometheusRule")["spec"], {"groups": groups})
                for name in DASHBOARDS:
                    board = resources["ConfigMap", f"tickcast-dashboard-{name}"]
                    self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1")
                    text = (DEPLOY / f"grafana/dashboards/{name}.json").read_text()
                    self.assertEqual(board["data"], {f"{name}.json": text})
                    # `kubectl apply` keeps a second copy in an annotation, of 256 KiB at most.
                    self.assertLess(len(json.dumps(board)), 200_000)
        there = sorted(file.stem for file in (DEPLOY / "grafana/dashboards").glob("*.json"))
        self.assertEqual(there, DASHBOARDS)

    def test_the_autoscaler_knows_the_group_and_the_topic(self):
        for resources in (self.full["kafka"], self.chart["kafka"]):
            scaled = of(resources, "ScaledObject")["spec"]
            target = resources["StatefulSet", scaled["scaleTargetRef"]["name"]]
            self.assertEqual(scaled["scaleTargetRef"]["kind"], target["kind"])
            self.assertNotIn("replicas", target["spec"])
            text = settings(resources)
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

    def test_versions_are_those_of_the_daemon(self):
        cargo = (REPOSITORY / "Cargo.toml").read_text()
        version = re.search(r'(?m)^version = "(.*)"', cargo)[1]
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"], version)
        for rendering, _, resources in self.renderings():
            [container] = of(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"]
            self.assertEqual(container["image"], f"tickcast:{version}", rendering)


# Pods and addresses about the daemon. A pod of KEDA or a stranger has no business with it.
PROMETHEUS = Pod("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"})
GRAFANA = Pod("grafana", "monitoring", {"app.kubernetes.io/name": "grafana"})
SUBSCRIBER = Pod("subscriber", "tickcast",
                 {"app.kubernetes.io/name": "trader", "tickcast/subscriber": "true"})
NEIGHBOR = Pod("neighbor", "tickcast", {"app.kubernetes.io/name": "neighbor"})
FAR_SUBSCRIBER = Pod("subscriber of another namespace", "trading", {"tickcast/subscriber": "true"},
                     namespace_labels={"tickcast/subscribers": "true"})
UNANNOUNCED = Pod("its namespace has no label", "elsewhere", {"tickcast/subscriber": "true"})
UNLABELED = Pod("its namespace alone has a label", "trading", {"app": "batch"},
                namespace_labels={"tickcast/subscribers": "true"})
SPOOFER = Pod("prometheus elsewhere", "elsewhere", {"app.kubernetes.io/name": "prometheus"})
WORLD = Outside("203.0.113.7")
DNS = Pod("dns", "kube-system", {"k8s-app": "kube-dns"})
BROKER = Pod("broker", "kafka", {"strimzi.io/name": "kafka-kafka"})
DATABASE = Pod("database", "databases", {"app": "postgres"})
METADATA = Outside("169.254.169.254")

INGRESS = [
    (PROMETHEUS, 9630, True), (SUBSCRIBER, 9630, True), (FAR_SUBSCRIBER, 9630, True),
    (GRAFANA, 9630, False), (NEIGHBOR, 9630, False), (UNANNOUNCED, 9630, False),
    (UNLABELED, 9630, False), (SPOOFER, 9630, False), (WORLD, 9630, False),
    (PROMETHEUS, 9631, False), (SUBSCRIBER, 22, False),
]
# Target, port, protocol, and whether it passes: on a feed, on topics.
EGRESS = [
    (DNS, 53, "UDP", True, True), (DNS, 53, "TCP", True, True), (DNS, 443, "TCP", False, False),
    (BROKER, 9092, "TCP", False, True), (BROKER, 9093, "TCP", False, False),
    (BROKER, 9092, "UDP", False, False), (WORLD, 443, "TCP", True, False),
    (WORLD, 80, "TCP", False, False), (WORLD, 53, "UDP", False, False),
    (Outside("2001:db8::7"), 443, "TCP", True, False), (METADATA, 80, "TCP", False, False),
    (DATABASE, 5432, "TCP", False, False), (SUBSCRIBER, 8080, "TCP", False, False),
]


class Policies(Case):
    """Who may reach whom, by the manifests as they are rendered."""

    def renderings(self):
        for overlay in OVERLAYS:
            yield overlay, kustomize(overlay)
            yield overlay, helm(overlay)
            yield overlay, helm(overlay, release="eu", namespace="markets")

    def test_only_prometheus_and_subscribers_get_in_and_only_names_and_inputs_are_out(self):
        decided = 0
        for overlay, resources in self.renderings():
            rules = [each for (kind, _), each in resources.items() if kind == "NetworkPolicy"]
            [daemon] = policies.pods_of(resources.values())
            for source, port, wanted in INGRESS:
                # A neighbor is one of the daemon's own namespace, whatever that is called.
                if isinstance(source, Pod) and source.namespace == "tickcast":
                    source = Pod(source.name, daemon.namespace, source.labels)
                with self.subTest(overlay=overlay, source=source, port=port):
                    self.assertIs(policies.may_reach(rules, source, daemon, port), wanted)
                    decided += 1
            for target, port, protocol, on_feed, on_topics in EGRESS:
                with self.subTest(overlay=overlay, target=target, port=port, protocol=protocol):
                    wanted = on_topics if overlay == "kafka" else on_feed
                    allowed = policies.may_reach(rules, daemon, target, port, protocol)
                    self.assertIs(allowed, wanted)
                    decided += 1
            # One instance has nothing to say to another.
            self.assertFalse(policies.may_reach(rules, daemon, daemon, 9630))
        self.assertEqual(decided, 6 * (len(INGRESS) + len(EGRESS)))

    def test_no_subscriber_becomes_part_of_the_service(self):
        for overlay, resources in self.renderings():
            [daemon] = policies.pods_of(resources.values())
            # Whatever labels the policy asks of a peer, and nothing more.
            asked = [Pod("as the policy asks", daemon.namespace,
                         peer.get("podSelector", {}).get("matchLabels", {}))
                     for rule in of(resources, "NetworkPolicy")["spec"]["ingress"]
                     for peer in rule["from"]]
            self.assertEqual(len(asked), 3)
            others = [Pod(each.name, daemon.namespace, each.labels)
                      for each in (SUBSCRIBER, NEIGHBOR, FAR_SUBSCRIBER, PROMETHEUS)]
            found = policies.members(of(resources, "Service"), [daemon, *others, *asked])
            self.assertEqual(found, [daemon], overlay)
            # Nor does a policy meant for the daemon shut a subscriber in, nor an eviction count it.
            for kind, key in {"NetworkPolicy": "podSelector",
                              "PodDisruptionBudget": "selector"}.items():
                selector = of(resources, kind)["spec"][key]
                chosen = [pod for pod in [daemon, *others, *asked]
                          if policies.selects(selector, pod.labels)]
                self.assertEqual(chosen, [daemon], kind)

    def test_the_evaluation_sees_a_selector_that_names_the_daemon(self):
        # What Kustomize made of the peers with includeSelectors: the subscriber is shut out, and
        # one that carries both labels gets in and belongs to the Service.
        resources = kustomize("websocket")
        policy = copy.deepcopy(of(resources, "NetworkPolicy"))
        for peer in policy["spec"]["ingress"][0]["from"]:
            peer["podSelector"]["matchLabels"] |= LABELS
        [daemon] = policies.pods_of(resources.values())
        self.assertFalse(policies.may_reach([policy], SUBSCRIBER, daemon, 9630))
        both = Pod("both labels", "tickcast", {**LABELS, "tickcast/subscriber": "true"})
        self.assertTrue(policies.passes([policy], "Ingress", daemon, both, daemon, 9630, "TCP"))
        self.assertEqual(policies.members(of(resources, "Service"), [both]), [both])
        # And the policy is then one for it as well, so that it may not even speak.
        self.assertFalse(policies.may_reach([policy], both, daemon, 9630))


# Values that the chart refuses, each with what the refusal names.
WRONG_VALUES = [
    ("replica=1", "replica"),
    ("replicas=two", "replicas"),
    ("replicas=3", "replicas"),
    ("replicas=-1", "replicas"),
    ("source=redis", "source"),
    ("source=kafka", "source"),
    ("autoscaling.enabled=true", "autoscaling"),
    ("autoscaling.enabled=yes", "autoscaling"),
    ("autoscaling.lagThreshold=0", "lagThreshold"),
    ("autoscaling.bootstrapServers=kafka", "bootstrapServers"),
    ("autoscaling.topic=a b", "topic"),
    ("image.tag=latest", "tag"),
    ("image.digest=sha256:abc", "digest"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("image.repository=Tick Cast", "repository"),
    ("feed.port=0", "port"),
    ("feed.cidrs[0]=everywhere", "cidrs"),
    ("kafka.namespace=Kafka_1", "namespace"),
    ("networkPolicy.enabled=maybe", "enabled"),
    ("networkPolicy.subscriberLabels=null", "subscriberLabels"),
    ("networkPolicy.subscriberLabels.app\\.kubernetes\\.io/name=tickcast", "subscriberLabels"),
    ("networkPolicy.ingress[0].from=x", "ingress"),
    ("resources.requests.memory=lots", "memory"),
    ("resources.request.memory=1Gi", "request"),
    ("state.size=1GB", "size"),
    ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
    ("settings=", "settings"),
    ("env[0].nam=X", "nam"),
    ("serviceMonitor.interval=15", "interval"),
    ("secret=My Secret", "secret"),
    ("podAnnotations.a=1", "podAnnotations"),
]

# Values that it takes, each with a text of what comes out.
RIGHT_VALUES = [
    (["image.digest=sha256:" + "0" * 64], "image: tickcast@sha256:000"),
    (["image.tag=0.2.0", "image.repository=localhost:5000/a/tickcast"],
     "image: localhost:5000/a/tickcast:0.2.0"),
    (["secret=feed"], "secretName: feed"),
    (["state.storageClass=fast"], "storageClassName: fast"),
    (["replicas=0"], "replicas: 0"),
    (["networkPolicy.monitoringNamespace=observability"],
     "kubernetes.io/metadata.name: observability"),
    (["serviceMonitor.enabled=true", "serviceMonitor.labels.release=stack"], "release: stack"),
    (["env[0].name=RUST_BACKTRACE", "env[0].value=full"], "name: RUST_BACKTRACE"),
    (["feed.cidrs={192.0.2.0/24}"], "cidr: 192.0.2.0/24"),
]


class Chart(Case):
    def test_it_passes_its_linter_with_every_set_of_values(self):
        for overlay in OVERLAYS:
            sets = [option for each in EVERYTHING[overlay] for option in ("--set", each)]
            for options in ([], sets):
                said = run(*helm_command("lint", "--strict", CHART, *values_of(overlay), *options))
                self.assertIn("1 chart(s) linted, 0 chart(s) failed", said)
        broken = self.folder / "broken/tickcast"
        shutil.copytree(CHART, broken)
        with open(broken / "templates/service.yaml", "a") as out:
            out.write("{{ .Values.nothing.here }}\n")
        refused = subprocess.run(helm_command("lint", "--strict", broken), capture_output=True)
        self.assertNotEqual(refused.returncode, 0)

    def test_wrong_values_are_refused_by_name(self):
        for value, named in WRONG_VALUES:
            with self.subTest(value=value):
                done = subprocess.run(helm_command("template", "tickcast", CHART, "--set", value),
                                      text=True, capture_output=True)
                self.assertNotEqual(done.returncode, 0, done.stdout[:300])
                self.assertIn(named, done.stderr)
        for sets, wanted in RIGHT_VALUES:
            with self.subTest(sets=sets):
                resources = helm("websocket", *sets)
                self.assertIn(wanted, yaml.safe_dump_all(resources.values(), width=1000))
        self.assertGreaterEqual(len(WRONG_VALUES), 30)

    def test_it_gives_the_objects_of_the_overlays(self):
        for overlay in OVERLAYS:
            wanted = kustomize_with_components(overlay, self.folder)
            del wanted["Namespace", "tickcast"]
            given = helm(overlay, *EVERYTHING[overlay])
            wanted, given = (sorted(map(essence, resources.values()), key=by_kind_and_name)
                             for resources in (wanted, given))
            self.assertEqual(list(map(by_kind_and_name, given)),
                             list(map(by_kind_and_name, wanted)))
            for ours, theirs in zip(given, wanted):
                with self.subTest(overlay=overlay, resource=by_kind_and_name(ours)):
                    self.assertEqual(ours, theirs)

    def test_a_packed_chart_has_the_rules_and_dashboards_themselves(self):
        run(*helm_command("package", CHART, "--destination", self.folder))
        [packed] = self.folder.glob("tickcast-*.tgz")
        run("tar", "--extract", "--gzip", f"--file={packed}", f"--directory={self.folder}")
        for theirs in ("files/alerts.rules.yml", "files/dashboards/overview.json"):
            file = self.folder / "tickcast" / theirs
            self.assertFalse(file.is_symlink())
            self.assertEqual(file.read_text(), (CHART / theirs).read_text())

    def test_two_releases_in_one_namespace_have_nothing_in_common(self):
        first, second = helm("websocket", release="eu"), helm("websocket", release="us")
        self.assertEqual(set(first) & set(second), set())
        pods = [*policies.pods_of(first.values()), *policies.pods_of(second.values())]
        for resources, pod in zip((first, second), pods):
            self.assertEqual(policies.members(of(resources, "Service"), pods), [pod])


def essence(resource):
    """A resource without what only one of Kustomize and Helm adds, and it says the same."""
    resource = copy.deepcopy(resource)
    without(resource, {"app.kubernetes.io/instance", "app.kubernetes.io/version",
                       "app.kubernetes.io/managed-by", "helm.sh/chart"})
    if resource["kind"] == "ConfigMap":
        name = resource["metadata"]["name"]
        resource["metadata"]["name"] = re.sub(r"^tickcast-[a-z0-9]{10}$", "tickcast", name)
        # Names of the overlays' settings carry a hash; labels come from the chart alone.
        if "tickcast.toml" in resource["data"]:
            resource["metadata"].pop("labels", None)
    if resource["kind"] == "StatefulSet":
        spec = resource["spec"]
        # One is the default.
        spec.setdefault("replicas", 1)
        spec["template"]["metadata"].pop("annotations", None)
        [volume] = spec["template"]["spec"]["volumes"]
        volume["configMap"]["name"] = "tickcast"
    return resource


def by_kind_and_name(resource):
    return resource["kind"], resource["metadata"]["name"]


def without(part, keys):
    if isinstance(part, dict):
        for key in keys & set(part):
            del part[key]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            without(each, keys)


if __name__ == "__main__":
    unittest.main()
