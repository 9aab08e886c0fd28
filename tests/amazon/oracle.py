"""Judges requests for Amazon by what Amazon says of them; called by the tests of the provider `ecs`.

    python oracle.py FILE

FILE holds JSON: a list of cases, each with a `name` and `requests`, of which each has `id`, `api`, `operation` and `request`. On
stdout goes a list with, for each case, its `name`, what botocore's models say against its requests (`model`) and what cfn-lint says
against them as a template of CloudFormation (`lint`).

What the models know says models.py. The linter knows what members mean to each other; it sees task definitions, services and target
groups alone: the others have no rules there.
"""

import json
import sys

from cfnlint.api import ManualArgs, lint

from models import Models

REGION = "eu-west-1"

# Members that CloudFormation spells otherwise.
SPELLINGS = {
    "EfsVolumeConfiguration": "EFSVolumeConfiguration",
    "FileSystemId": "FilesystemId",
    "Iam": "IAM",
}

# Members whose keys are the user's own.
MAPS = {"Options"}

TYPES = {
    ("ecs", "RegisterTaskDefinition"): "AWS::ECS::TaskDefinition",
    ("ecs", "CreateService"): "AWS::ECS::Service",
    ("elbv2", "CreateTargetGroup"): "AWS::ElasticLoadBalancingV2::TargetGroup",
}


def main():
    cases = json.load(open(sys.argv[1], encoding="utf-8"))
    models = Models()
    answers = [{"name": case["name"], "model": list(by_model(models, case)), "lint": []} for case in cases]
    for at, faults in lint_all(cases):
        answers[at]["lint"].append(faults)
    json.dump(answers, sys.stdout)


def by_model(models, case):
    for request in case["requests"]:
        for fault in models.faults(request["api"], request["operation"], request["request"]):
            yield f"{request['id']} {request['api']}:{request['operation']}: {fault}"


def lint_all(cases):
    """For each fault of the linter the place of its case and its words; a template holds as many cases as it may."""
    resources, owners = {}, {}
    for at, case in enumerate(cases):
        made = dict(of_case(at, case))
        if resources and len(resources) + len(made) > 60:
            yield from faults_of(resources, owners)
            resources, owners = {}, {}
        resources.update(made)
        owners.update({name: at for name in made})
    if resources:
        yield from faults_of(resources, owners)


def of_case(at, case):
    kinds = [TYPES.get((request["api"], request["operation"])) for request in case["requests"]]
    names = {request["id"]: f"C{at}R{number}" for number, request in enumerate(case["requests"]) if kinds[number]}
    for kind, request in zip(kinds, case["requests"]):
        if kind:
            yield names[request["id"]], {"Type": kind, "Properties": of_cloudformation(request["request"], names)}


def of_cloudformation(request, names):
    properties = capital(request)
    # A service that names its task definition is judged together with it.
    definition = properties.get("TaskDefinition")
    family = definition.rsplit("/", 1)[-1].split(":")[0] if isinstance(definition, str) else None
    resource = names.get(f"TaskDefinition/{family}")
    if resource:
        properties["TaskDefinition"] = {"Ref": resource}
    return properties


def capital(value):
    if isinstance(value, list):
        return [capital(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, inner in value.items():
        name = key[0].upper() + key[1:]
        name = SPELLINGS.get(name, name)
        made[name] = inner if name in MAPS else capital(inner)
    return made


def faults_of(resources, owners):
    template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
    for match in lint(template, config=ManualArgs(regions=[REGION])):
        if match.rule.id.startswith("E"):
            path = [str(part) for part in match.path or []]
            owner = owners.get(path[1]) if len(path) > 1 else None
            if owner is None:
                sys.exit(f"a fault of no case: {match.rule.id} {match.message} at {path}")
            yield owner, f"{match.rule.id} {'/'.join(path[2:])}: {match.message}"


if __name__ == "__main__":
    main()
