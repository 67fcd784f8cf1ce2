"""What compose.yaml and deploy/ say must agree: ports, versions, paths, names."""

import http.server
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from ruamel.yaml import YAML
from tensorflow_serving.config import model_server_config_pb2

from serving.client import FILES_PER_REQUEST, PAIRS_PER_REQUEST

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "deploy" / "tf_serving"
KUBERNETES = ROOT / "deploy" / "kubernetes"
MODEL_STATUS = "/v1/models/swar"


def load(path):
    return YAML(typ="safe").load(path.read_text())


@pytest.fixture(scope="module")
def compose():
    return load(ROOT / "compose.yaml")["services"]["serving"]


@pytest.fixture(scope="module")
def deployment():
    return load(KUBERNETES / "deployment.yaml")["spec"]


@pytest.fixture(scope="module")
def container(deployment):
    (container,) = deployment["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def predictor():
    service = load(ROOT / "deploy" / "kserve" / "inference_service.yaml")
    assert service["metadata"]["name"] == "swar"  # KServe makes it the model's name
    return service["spec"]["predictor"]


def flags(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def image(service):
    """What it is without a setting in the environment."""
    (name,) = re.findall(r"^\$\{SWAR_SERVING_(?:GPU_)?IMAGE:-(.+)\}$", service["image"])
    return name


def test_compose_and_kubernetes_run_the_same_server(compose, container, predictor):
    assert image(compose) == container["image"]
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", image(compose))
    assert predictor["model"]["runtimeVersion"] == image(compose).partition(":")[2]
    assert compose["entrypoint"] == container["command"]
    assert compose["command"] == container["args"]
    assert set(predictor["model"]["args"]) < set(container["args"])


def test_the_server_on_a_card_is_the_same_but_for_its_image():
    services = load(ROOT / "compose.yaml")["services"]
    on_card = dict(services["serving-gpu"])
    (device,) = on_card.pop("deploy")["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    # Whoever starts everything starts one server, not two on one port.
    assert on_card.pop("profiles") == ["gpu"]
    assert image(on_card) == image(services["serving"]) + "-gpu"
    del on_card["image"]
    assert on_card == {
        name: value for name, value in services["serving"].items() if name != "image"
    }


def test_ports_agree(compose, container):
    arguments = flags(compose["command"])
    ports = {int(arguments["port"]), int(arguments["rest_api_port"])}
    assert {int(port.rpartition(":")[2]) for port in compose["ports"]} == ports
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == {"grpc": int(arguments["port"]), "rest": int(arguments["rest_api_port"])}
    service = load(KUBERNETES / "service.yaml")["spec"]["ports"]
    assert {port["targetPort"]: port["port"] for port in service} == named


def test_published_ports_are_open_to_this_machine_only(compose):
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"])


def test_every_config_file_that_the_server_is_given_is_mounted(compose, container, predictor):
    generator = load(CONFIGS / "kustomization.yaml")["configMapGenerator"][0]
    mounts = {
        mount["name"]: mount["mountPath"]
        for mount in container["volumeMounts"] + predictor["model"]["volumeMounts"]
    }
    (source,) = (v["source"] for v in compose["volumes"] if v["target"] == mounts["config"])
    assert (ROOT / source).resolve() == CONFIGS
    for name, value in flags(compose["command"]).items():
        if name.endswith("_file"):
            assert Path(value).parent == Path(mounts["config"])
            assert Path(value).name in generator["files"]
            assert (CONFIGS / Path(value).name).is_file()


def test_the_config_map_is_the_one_that_is_mounted(deployment, predictor):
    name = load(CONFIGS / "kustomization.yaml")["configMapGenerator"][0]["name"]
    for volumes in (deployment["template"]["spec"]["volumes"], predictor["volumes"]):
        assert [v["configMap"]["name"] for v in volumes if "configMap" in v] == [name]


@pytest.mark.parametrize("name", ["models.config", "models_canary.config"])
def test_models_are_where_they_are_mounted(name, compose, container):
    config = text_format.Parse(
        (CONFIGS / name).read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert model.name == "swar"
    assert model.base_path in {mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = (v for v in compose["volumes"] if v["target"] == model.base_path)
    assert volume["read_only"] is True
    specific = model.model_version_policy.specific.versions
    assert sorted(model.version_labels.values()) == sorted(specific)
    assert set(model.version_labels) == ({"stable", "canary"} if "canary" in name else set())


def test_the_claim_with_the_models_is_the_same(deployment, predictor):
    (claim,) = (
        volume["persistentVolumeClaim"]["claimName"]
        for volume in deployment["template"]["spec"]["volumes"]
        if volume["name"] == "models"
    )
    assert predictor["model"]["storageUri"] == f"pvc://{claim}"


# tensorflow-serving-api ships neither session_bundle_config.proto nor monitoring_config.proto:
# these are names and types of TensorFlow Serving's fields that are in use here.
INT64, BOOL = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue"
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": INT64,
        "batch_timeout_micros": INT64,
        "max_enqueued_batches": INT64,
        "num_batch_threads": INT64,
        "enable_large_batch_splitting": BOOL,
        "max_execution_batch_size": INT64,
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": ".tensorflow.serving.PrometheusConfig"},
}


def parsed(name, message):
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message_name, fields in MESSAGES.items():
        described = file.message_type.add(name=message_name)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            field = described.field.add(name=field_name, number=number, label=1)
            if kind.startswith("."):
                field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, kind
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    kind = message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"tensorflow.serving.{message}")
    )
    return text_format.Parse((CONFIGS / name).read_text(), kind())


def test_batches():
    batching = parsed("batching.config", "BatchingParameters")
    assert batching.enable_large_batch_splitting.value is True
    assert max(FILES_PER_REQUEST, PAIRS_PER_REQUEST) <= batching.max_batch_size.value
    # Without splitting a request of more recordings than this would be refused.
    assert 0 < batching.max_execution_batch_size.value <= batching.max_batch_size.value
    assert 0 < batching.batch_timeout_micros.value <= 20_000
    assert batching.num_batch_threads.value >= 1


def test_metrics_are_where_prometheus_looks(deployment, container):
    monitoring = parsed("monitoring.config", "MonitoringConfig").prometheus_config
    annotations = deployment["template"]["metadata"]["annotations"]
    assert monitoring.enable is True
    assert annotations["prometheus.io/path"] == monitoring.path
    assert annotations["prometheus.io/port"] == flags(container["args"])["rest_api_port"]


def test_probes_ask_for_the_model(container, predictor):
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": MODEL_STATUS, "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    assert predictor["model"]["readinessProbe"]["httpGet"]["path"] == MODEL_STATUS


def test_autoscaler_service_and_budget_mean_the_deployment(deployment):
    labels = deployment["template"]["metadata"]["labels"]
    name = load(KUBERNETES / "deployment.yaml")["metadata"]["name"]
    assert deployment["selector"]["matchLabels"] == labels
    assert load(KUBERNETES / "service.yaml")["spec"]["selector"] == labels
    budget = load(KUBERNETES / "disruption_budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    autoscaler = load(KUBERNETES / "autoscaler.yaml")["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == name
    assert "replicas" not in deployment
    assert budget["maxUnavailable"] < autoscaler["minReplicas"]


def test_kustomization_lists_every_manifest():
    listed = load(KUBERNETES / "kustomization.yaml")["resources"]
    manifests = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == manifests | {"../tf_serving"}


def test_nothing_runs_as_root_or_writes_to_its_image(compose, deployment, container):
    assert compose["read_only"] is True and compose["cap_drop"] == ["ALL"]
    pod = deployment["template"]["spec"]["securityContext"]
    assert compose["user"] == f"{pod['runAsUser']}:{pod['runAsGroup']}"
    assert pod["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "mem_limit" in compose and "memory" in container["resources"]["limits"]


def test_the_predictor_of_kserve_is_as_restricted(deployment, container, predictor):
    pod = dict(deployment["template"]["spec"]["securityContext"])
    del pod["fsGroupChangePolicy"]
    assert predictor["securityContext"] == pod
    assert predictor["model"]["securityContext"] == container["securityContext"]
    assert predictor["automountServiceAccountToken"] is False


def test_only_clients_and_prometheus_reach_the_server(deployment, container):
    policy = load(KUBERNETES / "network_policy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    open_to = {
        str(source): {port["port"] for port in rule["ports"]}
        for rule in policy["ingress"]
        for source in rule["from"]
    }
    assert len(open_to) == len(policy["ingress"])
    assert all("matchLabels" in source for source in open_to)
    named = {port["name"] for port in container["ports"]}
    assert set.union(*open_to.values()) == named
    # Port 8500 loads models from any path for whoever reaches it.
    with_grpc = [source for source, ports in open_to.items() if "grpc" in ports]
    assert with_grpc == [str({"podSelector": {"matchLabels": {"swar-client": "true"}}})]


def test_the_pods_of_kserve_are_as_closed(predictor):
    service = load(ROOT / "deploy" / "kserve" / "inference_service.yaml")
    policy = load(ROOT / "deploy" / "kserve" / "network_policy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"] == {
        "serving.kserve.io/inferenceservice": service["metadata"]["name"],
        "component": "predictor",
    }
    own = load(KUBERNETES / "network_policy.yaml")["spec"]
    assert [rule["from"] for rule in policy["ingress"]] == [rule["from"] for rule in own["ingress"]]
    rest = predictor["model"]["readinessProbe"]["httpGet"]["port"]
    assert all(rule["ports"] == [{"port": rest}] for rule in policy["ingress"])
    assert (policy["policyTypes"], policy["egress"]) == (own["policyTypes"], own["egress"])


def test_disks_and_processes_have_bounds(compose, deployment, container, predictor):
    for volumes in (deployment["template"]["spec"]["volumes"], predictor["volumes"]):
        assert [v["emptyDir"]["sizeLimit"] for v in volumes if "emptyDir" in v] == ["64Mi"]
    for resources in (container["resources"], predictor["model"]["resources"]):
        assert resources["limits"]["ephemeral-storage"] == "256Mi"
    assert compose["pids_limit"] == 2048
    assert all("size=" in each for each in compose["tmpfs"])


def test_images_can_be_named_by_their_digests():
    for service in load(ROOT / "compose.yaml")["services"].values():
        assert image(service)
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "@sha256:" in dockerfile
    assert "@sha256:" in (KUBERNETES / "deployment.yaml").read_text()


@contextmanager
def model_server(state):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == MODEL_STATUS
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(b'{"model_version_status": [{"state": "%s"}]}' % state.encode())

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check_health(compose, port):
    kind, *command = compose["healthcheck"]["test"]
    rest_port = flags(compose["command"])["rest_api_port"]
    assert kind == "CMD" and f"/{rest_port} " in command[-1]
    command[-1] = command[-1].replace(rest_port, str(port))
    done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def test_health_check_tells_available_from_loading_and_from_nobody_there(compose):
    with model_server("AVAILABLE") as port:
        assert check_health(compose, port)
    assert not check_health(compose, port)
    with model_server("LOADING") as port:
        assert not check_health(compose, port)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("variables", "passed"),
    [
        (["PYTHON_3_12=/opt/python"], 'BASE="" BEAM="" BUILD="" PYTHON_3_12="/opt/python"'),
        (["BASE=one", "BEAM=other"], 'BASE="one" BEAM="other" BUILD="" PYTHON_3_12=""'),
    ],
)
def test_make_hands_the_container_test_what_it_was_given(variables, passed):
    command = ["make", "--dry-run", "--assume-old=venv", "container-test", *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{passed} deploy/container/test.sh" in done.stdout


def test_ci_runs_the_same_check_everywhere():
    workflow = load(ROOT / ".github" / "workflows" / "pipeline.yaml")
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    build = load(ROOT / "deploy" / "ci" / "cloudbuild.yaml")
    image, check = build["steps"]
    assert "--target" in image["args"] and "AS swar\n" in (ROOT / "Dockerfile").read_text()
    script = check["args"][0]
    assert any(f"{script} " in step for step in steps)
    assert build["images"] == [check["name"]] == [image["args"][image["args"].index("--tag") + 1]]
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    assert workflow["permissions"] == {"contents": "read"}
