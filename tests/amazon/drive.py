"""Sends requests to a counterpart by Amazon's own SDK for Python, through the proxy; called by the tests of the provider `ecs`.

    python drive.py FILE

FILE holds JSON: a list of cases, each with a `name` and `requests` in the order in which they may be sent, each with `id`, `api`,
`operation` and `request`; in it `{"$open": {"ref": {"resource": ..., "output": ...}}}` stands for what an earlier one answers. What a
Target names, and is there before, is made first, and takes the place of the names in `there` (names of the tests, in any text). On stdout
goes what went wrong: `refused` by the proxy, and `failed` at the counterpart, each with the request; and how many were sent.
"""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

HERE = Path(__file__).parent
REGION = "eu-west-1"

# Where an answer says what others refer to.
OUTPUTS = {
    "taskDefinitionArn": ("taskDefinition", "taskDefinitionArn"),
    "targetGroupArn": ("TargetGroups", 0, "TargetGroupArn"),
    "listenerArn": ("Listeners", 0, "ListenerArn"),
    "ruleArn": ("Rules", 0, "RuleArn"),
    "accessPointId": ("AccessPointId",),
    "arn": ("Service", "Arn"),
}


def main():
    cases = json.load(open(sys.argv[1], encoding="utf-8"))
    with counterpart() as (endpoint, log):
        clients = Clients(endpoint)
        there = surroundings(clients)
        failed = [fault for case in cases for fault in sent(clients, there, case)]
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    refused = [line for line in lines if line["faults"]]
    json.dump({"sent": len(lines), "refused": refused, "failed": failed}, sys.stdout)


@contextlib.contextmanager
def counterpart():
    """A moto, and the proxy before it; both gone at the end."""
    with tempfile.TemporaryDirectory(prefix="portolan-amazon-") as folder:
        log, (behind, before) = Path(folder) / "log", free_ports(2)
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(behind)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
            subprocess.Popen([sys.executable, HERE / "proxy.py", str(before), f"http://127.0.0.1:{behind}", log]),
        ]
        try:
            for port in (behind, before):
                listens(port)
            yield f"http://127.0.0.1:{before}", log
        finally:
            for process in started:
                process.kill()
                process.wait()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listens(port, most_s=60):
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nothing listens at {port} after {most_s} s")


class Clients:
    def __init__(self, endpoint):
        self.session = botocore.session.get_session()
        self.session.set_credentials("key", "secret")
        self.endpoint, self.clients = endpoint, {}

    def call(self, api, operation, request):
        if api not in self.clients:
            # What breaks a model is the proxy's to refuse, and one attempt is one request.
            config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
            self.clients[api] = self.session.create_client(api, REGION, endpoint_url=self.endpoint, config=config)
        client = self.clients[api]
        return client._make_api_call(operation, request)


def surroundings(clients):
    """What a Target names: by the name that the tests have for it, the one that the counterpart gave it."""
    vpc = clients.call("ec2", "CreateVpc", {"CidrBlock": "10.0.0.0/16"})["Vpc"]["VpcId"]
    subnet = lambda block, zone: clients.call(
        "ec2", "CreateSubnet", {"VpcId": vpc, "CidrBlock": block, "AvailabilityZone": f"{REGION}{zone}"}
    )["Subnet"]["SubnetId"]
    subnets = [subnet("10.0.0.0/24", "a"), subnet("10.0.1.0/24", "b")]
    group = clients.call("ec2", "CreateSecurityGroup", {"GroupName": "tasks", "Description": "tasks", "VpcId": vpc})["GroupId"]
    clients.call("ecs", "CreateCluster", {"clusterName": "prod"})
    balancer = lambda name, kind: clients.call("elbv2", "CreateLoadBalancer", {"Name": name, "Type": kind, "Subnets": subnets})[
        "LoadBalancers"
    ][0]["LoadBalancerArn"]
    application, network = balancer("edge", "application"), balancer("stream", "network")
    nothing = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    listener = lambda port: clients.call(
        "elbv2", "CreateListener", {"LoadBalancerArn": application, "Protocol": "HTTP", "Port": port, "DefaultActions": [nothing]}
    )["Listeners"][0]["ListenerArn"]
    system = clients.call("efs", "CreateFileSystem", {"CreationToken": "data"})["FileSystemId"]
    made = clients.call("servicediscovery", "CreatePrivateDnsNamespace", {"Name": "harbour.local", "Vpc": vpc})["OperationId"]
    operation = clients.call("servicediscovery", "GetOperation", {"OperationId": made})["Operation"]
    arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:"
    return {
        "vpc-0123456789abcdef0": vpc,
        "subnet-0123456789abcdef0": subnets[0],
        "subnet-0123456789abcdef1": subnets[1],
        "sg-0123456789abcdef0": group,
        f"{arn}loadbalancer/app/edge/0123456789abcdef": application,
        f"{arn}loadbalancer/net/edge/0123456789abcdef": network,
        f"{arn}listener/app/edge/0123456789abcdef/0123456789abcdef": listener(80),
        f"{arn}listener/app/edge/0123456789abcdef/0123456789abcde0": listener(443),
        "fs-0123456789abcdef0": system,
        "ns-0123456789abcdef": operation["Targets"]["NAMESPACE"],
    }


def sent(clients, there, case):
    answers = {}
    for one in case["requests"]:
        request = closed(one["request"], there, answers)
        try:
            answers[one["id"]] = clients.call(one["api"], one["operation"], request)
        except ClientError as error:
            yield {"case": case["name"], "id": one["id"], "operation": f"{one['api']}:{one['operation']}", "error": str(error)}


def closed(value, there, answers):
    if isinstance(value, list):
        return [closed(item, there, answers) for item in value]
    if isinstance(value, dict):
        reference = value.get("$open", {}).get("ref") if set(value) == {"$open"} else None
        if reference:
            return output(answers, reference)
        return {key: closed(inner, there, answers) for key, inner in value.items()}
    if isinstance(value, str):
        for name, real in there.items():
            value = value.replace(name, real) if value.startswith(name) else value
    return value


def output(answers, reference):
    answer = answers.get(reference["resource"])
    for step in OUTPUTS[reference["output"]] if answer else ():
        answer = answer[step]
    return answer or "nothing"


if __name__ == "__main__":
    main()
