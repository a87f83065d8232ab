terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

locals {
  emulated = var.emulator_endpoint != null
}

provider "aws" {
  region = var.region

  # In another account than the one that was meant, nothing is made.
  allowed_account_ids = local.emulated ? null : [var.account_id]

  # An emulator has no account, no instance metadata, and buckets in the path.
  access_key                  = local.emulated ? "test" : null
  secret_key                  = local.emulated ? "test" : null
  skip_credentials_validation = local.emulated
  skip_metadata_api_check     = local.emulated
  skip_requesting_account_id  = local.emulated
  s3_use_path_style           = local.emulated

  dynamic "endpoints" {
    for_each = local.emulated ? [var.emulator_endpoint] : []

    content {
      ec2 = endpoints.value
      iam = endpoints.value
      s3  = endpoints.value
      ssm = endpoints.value
      sts = endpoints.value
    }
  }
}
