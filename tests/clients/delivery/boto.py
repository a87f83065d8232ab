"""boto3 as a service: one long life, one line for each use of its credentials."""

import json
import time

import boto3
from botocore.config import Config

session, s3 = boto3.Session(), None
while True:
    try:
        # Made once, and not before there are credentials: they are looked for already here.
        s3 = s3 or session.client("s3", config=Config(retries={"total_max_attempts": 1}))
        s3.list_objects_v2(Bucket="bucket1")
        said = {"key": session.get_credentials().get_frozen_credentials().access_key}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)
    time.sleep(0.5)
