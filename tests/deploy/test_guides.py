"""The files in docs/retraining.md: units by systemd's own judge, manifests by their schemas."""

import re
import shutil
import tempfile
import unittest
from pathlib import Path

import yaml

from rendering import by_name, kustomize
from support import DEPLOY, run
from test_kubernetes import validate

GUIDE = (DEPLOY.parent / "docs/retraining.md").read_text()


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found, language
    return found


class Units(unittest.TestCase):
    def test_systemd_takes_the_service_and_its_timer(self):
        units = re.findall(r"`/etc/systemd/system/(\S+)`:\n\n```ini\n(.*?)```", GUIDE, re.DOTALL)
        self.assertEqual([name for name, _ in units], ["tickcast-train.service", "tickcast-train.timer"])
        with tempfile.TemporaryDirectory() as folder:
            for name, text in units:
                # What the reader writes or builds is not on this machine.
                text = re.sub(r"/usr/local/bin/[a-z-]+", "/bin/true", text)
                Path(folder, name).write_text(text)
            judge = ["systemd-analyze", "verify", "--man=no"]
            said = run(*judge, *(Path(folder, name) for name, _ in units))
            self.assertEqual(said, "")
            wrong = Path(folder, "tickcast-train.service")
            wrong.write_text(wrong.read_text().replace("Type=oneshot", "Type=now"))
            self.assertIn("service type", run(*judge, wrong))


class Manifests(unittest.TestCase):
    def test_the_volume_and_the_job_meet_their_schemas(self):
        resources = by_name(blocks("yaml")[0])
        self.assertEqual({kind for kind, _ in resources}, {"PersistentVolumeClaim", "CronJob"})
        for resource in resources.values():
            validate(resource)
        pod = resources["CronJob", "tickcast-train"]["spec"]["jobTemplate"]["spec"]["template"]
        label = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        self.assertNotEqual(label, "tickcast", "the Service would choose the job's pod")

    def test_the_patch_gives_the_daemon_the_volume(self):
        patches = yaml.safe_load(blocks("yaml")[1])["patches"]
        with tempfile.TemporaryDirectory() as folder:
            deploy = Path(folder, "deploy")
            shutil.copytree(DEPLOY / "kubernetes", deploy / "kubernetes")
            file = deploy / "kubernetes/overlays/websocket/kustomization.yaml"
            overlay = yaml.safe_load(file.read_text())
            overlay["patches"] += patches
            file.write_text(yaml.safe_dump(overlay))
            daemon = kustomize("websocket", deploy)["StatefulSet", "tickcast"]
        validate(daemon)
        pod = daemon["spec"]["template"]["spec"]
        claims = {one["name"]: one.get("persistentVolumeClaim", {}) for one in pod["volumes"]}
        self.assertEqual(claims["models"]["claimName"], "tickcast-models")
        mounts = {one["name"]: one for one in pod["containers"][0]["volumeMounts"]}
        self.assertTrue(mounts["models"]["readOnly"])


if __name__ == "__main__":
    unittest.main()
