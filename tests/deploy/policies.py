"""What rendered manifests let through: which pod may reach which port, as Kubernetes decides it.

A connection passes where the egress rules of its source and the ingress rules of its target both
allow it. A pod that no policy of a direction selects may do everything in that direction.
"""

import dataclasses
import ipaddress


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as a policy sees it."""
    name: str
    namespace: str
    labels: dict
    # Of the containers: name to (number, protocol).
    ports: dict = dataclasses.field(default_factory=dict)
    # Those that the namespace has besides its name.
    namespace_labels: dict = dataclasses.field(default_factory=dict)

    def labels_of_namespace(self):
        return {"kubernetes.io/metadata.name": self.namespace, **self.namespace_labels}


@dataclasses.dataclass(frozen=True)
class Outside:
    """An address outside of the cluster."""
    address: str


def selects(selector, labels):
    """Whether a label selector matches. An empty one matches everything."""
    unknown = set(selector) - {"matchLabels", "matchExpressions"}
    if unknown:
        raise ValueError(f"not known in a selector: {unknown}")
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        key, values = expression["key"], expression.get("values", [])
        if not {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[expression["operator"]]:
            return False
    return True


def is_peer(peer, other, namespace):
    """Whether an entry of `from` or `to`, in a policy of `namespace`, means the other end."""
    if "ipBlock" in peer:
        if isinstance(other, Pod):
            return False
        address, block = ipaddress.ip_address(other.address), peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", []))
    if not isinstance(other, Pod):
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], other.labels_of_namespace()):
            return False
    elif other.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), other.labels)


def is_port(rule, target, port, protocol):
    """Whether an entry of `ports` means the port; the target's containers have the names."""
    if rule.get("protocol", "TCP") != protocol:
        return False
    wanted = rule.get("port")
    if isinstance(wanted, str):
        wanted, of_port = getattr(target, "ports", {}).get(wanted, (None, None))
        return (wanted, of_port) == (port, protocol)
    if wanted is None:
        return True
    return wanted <= port <= rule.get("endPort", wanted)


def passes(policies, direction, here, other, target, port, protocol):
    """Whether the policies of one direction, "Ingress" or "Egress", allow `here` a connection."""
    if not isinstance(here, Pod):
        return True
    rules, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    chosen = [each for each in policies
              if each["metadata"]["namespace"] == here.namespace
              and direction in each["spec"]["policyTypes"]
              and selects(each["spec"]["podSelector"], here.labels)]
    if not chosen:
        return True
    return any(
        (not rule.get(peers) or any(is_peer(peer, other, policy["metadata"]["namespace"])
                                    for peer in rule[peers]))
        and (not rule.get("ports") or any(is_port(each, target, port, protocol)
                                          for each in rule["ports"]))
        for policy in chosen for rule in policy["spec"].get(rules, [])
    )


def may_reach(policies, source, target, port, protocol="TCP"):
    return (passes(policies, "Egress", source, target, target, port, protocol)
            and passes(policies, "Ingress", target, source, target, port, protocol))


def pods_of(resources):
    """One pod of each StatefulSet, as the controller makes it."""
    for each in resources:
        if each["kind"] == "StatefulSet":
            template = each["spec"]["template"]
            ports = {port["name"]: (port["containerPort"], port.get("protocol", "TCP"))
                     for container in template["spec"]["containers"]
                     for port in container["ports"]}
            yield Pod(f"{each['metadata']['name']}-0", each["metadata"]["namespace"],
                      template["metadata"]["labels"], ports)


def members(service, pods):
    """The pods behind a Service."""
    return [pod for pod in pods if pod.namespace == service["metadata"]["namespace"]
            and selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
