# Production's side of the three-buckets story, as terraform.py applies it: each service's role is managed here, and merges
# what `devsup iam terraform` printed into its trust. That file is put beside this one as devsup.tf.

locals {
  services = {
    a = { bucket = "bucket1", devsup = data.aws_iam_policy_document.devsup_trust_service-a.json }
    b = { bucket = "bucket2", devsup = data.aws_iam_policy_document.devsup_trust_service-b.json }
    c = { bucket = "bucket3", devsup = data.aws_iam_policy_document.devsup_trust_service-c.json }
  }
}

data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "trust" {
  for_each                = local.services
  source_policy_documents = [data.aws_iam_policy_document.ec2.json, each.value.devsup]
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.services

  statement {
    actions   = ["s3:*"]
    resources = ["arn:aws:s3:::${each.value.bucket}", "arn:aws:s3:::${each.value.bucket}/*"]
  }
}

resource "aws_iam_role" "service" {
  for_each           = local.services
  name               = "service-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "bucket" {
  for_each = local.services
  name     = "bucket"
  role     = aws_iam_role.service[each.key].id
  policy   = data.aws_iam_policy_document.bucket[each.key].json
}
