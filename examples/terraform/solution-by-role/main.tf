# The solution: role1 may assume role2, and role2 trusts role1.

# The bucket of the service.
resource "aws_s3_bucket" "production" {
  bucket        = var.bucket_name
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "production" {
  bucket                  = aws_s3_bucket.production.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# role2: who the service is in production. It may use the bucket.
resource "aws_iam_role" "role2" {
  name               = "${var.prefix}-role2"
  assume_role_policy = data.aws_iam_policy_document.role2_trust.json
}

resource "aws_iam_role_policy" "role2_bucket" {
  name   = "bucket"
  role   = aws_iam_role.role2.id
  policy = data.aws_iam_policy_document.bucket.json
}

data "aws_iam_policy_document" "bucket" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.production.arn]
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.production.arn}/*"]
  }
}

# role1: who the shared development instance is. It has no rights on S3.
resource "aws_iam_role" "role1" {
  name               = "${var.prefix}-role1"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
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

# New: role1 may assume role2 ...
resource "aws_iam_role_policy" "role1_assumes" {
  name   = "assume-role2"
  role   = aws_iam_role.role1.id
  policy = data.aws_iam_policy_document.assume_role2.json
}

data "aws_iam_policy_document" "assume_role2" {
  statement {
    actions   = ["sts:AssumeRole"]
    resources = [aws_iam_role.role2.arn]
  }
}

# ... and role2 trusts role1, beside production's instances.
data "aws_iam_policy_document" "role2_trust" {
  source_policy_documents = [data.aws_iam_policy_document.ec2.json]

  statement {
    sid     = "DevsupTrust"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.role1.arn]
    }
  }
}
