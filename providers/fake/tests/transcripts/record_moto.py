"""Records ecs-like/moto.jsonl anew, from moto's server.

    python3 -m venv V && V/bin/pip install 'moto[ecs,elbv2,server]' boto3
    V/bin/python providers/fake/tests/transcripts/record_moto.py

moto keeps no time: each step says at which millisecond it is asked. Answers are written down whole. Where moto is wrong
by Amazon's own pages the step says so, and the platform in memory then has to disagree.
"""

import json
import logging
from pathlib import Path

import boto3
import moto
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

FILE = Path(__file__).parent / "ecs-like" / "moto.jsonl"
HEADER = {
    "counterpart": f"moto {moto.__version__}",
    "source": "https://pypi.org/project/moto/",
    "madeBy": Path(__file__).name,
}
DRAINS = "moto makes a deleted service INACTIVE at once; by API_DeleteService it is DRAINING while its tasks end"
LISTS = "moto lists an INACTIVE service; by API_DeleteService ListServices shows none that has left ACTIVE"
NAMES = "moto takes any name; by API_CreateLoadBalancer it has 32 characters at most, and no hyphen at an end"


class Recorder:
    """Asks, and writes down what was answered."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.lines = [HEADER]
        self.at = 0

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
        )

    def wait(self, milliseconds):
        self.at += milliseconds

    def ask(self, client, step, operation, deviates=None, **request):
        try:
            answer = client._make_api_call(operation, request)
        except ClientError as error:
            answer = error.response
        status = answer.pop("ResponseMetadata")["HTTPStatusCode"]
        line = {"at": self.at, "step": step, "ask": operation, "request": request, "status": status, "answer": answer}
        if deviates:
            line["deviates"] = deviates
        self.lines.append(line)
        return answer

    def write(self):
        text = "".join(json.dumps(line, default=str) + "\n" for line in self.lines)
        FILE.write_text(text)


def services(recorder):
    ecs = recorder.client("ecs")

    def ask(step, operation, **request):
        return recorder.ask(ecs, step, operation, **request)

    def look(step, *names, deviates=None):
        ask(step, "DescribeServices", deviates=deviates, cluster="shop", services=list(names))

    ask("a cluster", "CreateCluster", clusterName="shop")
    for image in ["web:1", "web:2"]:
        container = {"name": "web", "image": image, "cpu": 256, "memory": 512}
        ask("a revision", "RegisterTaskDefinition", family="web", containerDefinitions=[container])
    ask("nothing is listed", "ListServices", cluster="shop")
    look("what nobody has made is missing", "web")
    made = {"cluster": "shop", "serviceName": "web", "taskDefinition": "web:1", "desiredCount": 2}
    ask("it is made", "CreateService", clientToken="first", **made)
    recorder.wait(1_000)
    look("it is told", "web")
    ask("it is listed", "ListServices", cluster="shop")
    ask("it is changed", "UpdateService", cluster="shop", service="web", taskDefinition="web:2")
    look("the change is told, and what it says nothing of has stayed", "web")
    ask("it is scaled", "UpdateService", cluster="shop", service="web", desiredCount=3)
    look("that is told", "web")
    ask("an update of what nobody has made", "UpdateService", cluster="shop", service="api", desiredCount=1)
    other = {"cluster": "shop", "serviceName": "api", "taskDefinition": "web:1", "desiredCount": 1}
    ask("a second one", "CreateService", clientToken="second", **other)
    ask("both are listed", "ListServices", cluster="shop")
    look("both are told, and nobody else", "web", "nobody", "api")
    ask("it is deleted", "DeleteService", cluster="shop", service="web", force=True, deviates=DRAINS)
    recorder.wait(1_000)
    ask("while it drains it is not listed", "ListServices", cluster="shop", deviates=LISTS)
    look("while it drains it is told", "web", deviates=DRAINS)
    recorder.wait(30_000)
    look("it has gone", "web")
    ask("a delete of what nobody has made", "DeleteService", cluster="shop", service="nobody", force=True)
    ask("its name is free", "CreateService", clientToken="third", **made)


def balancers(recorder):
    subnets = recorder.client("ec2").describe_subnets()["Subnets"]
    subnets = [subnet["SubnetId"] for subnet in subnets[:2]]
    elb = recorder.client("elbv2")

    def ask(step, operation, **request):
        return recorder.ask(elb, step, operation, **request)

    ask("a name that is too long", "CreateLoadBalancer", Name="x" * 33, Subnets=subnets, deviates=NAMES)
    ask("a name that ends with a hyphen", "CreateLoadBalancer", Name="web-", Subnets=subnets, deviates=NAMES)
    made = ask("a balancer is made", "CreateLoadBalancer", Name="web", Subnets=subnets)
    recorder.wait(3_000)
    ask("the balancer is told", "DescribeLoadBalancers", Names=["web"])
    ask("a balancer that nobody has made is missing", "DescribeLoadBalancers", Names=["api"])
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    ask("the balancer is deleted", "DeleteLoadBalancer", LoadBalancerArn=arn)
    ask("the balancer has gone", "DescribeLoadBalancers", Names=["web"])


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    recorder = Recorder(f"http://{host}:{port}")
    try:
        services(recorder)
        balancers(recorder)
    finally:
        server.stop()
    recorder.write()


if __name__ == "__main__":
    main()
