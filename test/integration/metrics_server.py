"""metrics-server, from its Go module, as an aggregated API of a lab, for kubectl top."""
import contextlib
import socket
import subprocess
import tempfile

from harness import ROOT, run


@contextlib.contextmanager
def kubectl_top(lab, within=()):
    """top(*what): the words of each line of `kubectl top WHAT`, none while there are no figures yet. `within` runs a command where
    the lab's API server and kubelet are."""
    program = run([ROOT / "tools/lab", "metrics-server"], timeout=1200).strip().splitlines()[-1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab.apply(
        # The API server finds it here, without a proxy for services.
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-server", "namespace": "kube-system"},
         "spec": {"type": "ExternalName", "externalName": "localhost"}},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.metrics.k8s.io"},
         "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": True, "groupPriorityMinimum": 100,
                  "versionPriority": 100, "service": {"name": "metrics-server", "namespace": "kube-system", "port": port}}})
    kubeconfig = lab.env["KUBECONFIG"]
    with tempfile.TemporaryDirectory() as scratch, open(f"{scratch}/log", "w+", encoding="utf-8") as log:
        server = subprocess.Popen(
            [*within, program, f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
             "--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={scratch}", "--metric-resolution=15s",
             "--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
             f"--kubelet-certificate-authority={lab.dir}/pki/ca.crt"], stdout=log, stderr=log)
        try:
            def top(*what):
                if server.poll() is not None:
                    log.seek(0)
                    raise ValueError(f"metrics-server ended: {log.read()[-2000:]}")
                lines = lab.kubectl("top", *what, "--no-headers", check=False).splitlines()
                return [line.split() for line in lines if line.strip()]
            yield top
        finally:
            server.terminate()
            server.wait(30)
            lab.kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io", check=False)
            lab.kubectl("delete", "service", "-n", "kube-system", "metrics-server", check=False)
