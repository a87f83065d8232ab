output "bucket" {
  description = "The bucket that only role2 may use."
  value       = aws_s3_bucket.production.bucket
}

output "role1_arn" {
  description = "Who the development instance is."
  value       = aws_iam_role.role1.arn
}

output "role2_arn" {
  description = "Who the service is in production."
  value       = aws_iam_role.role2.arn
}

output "ssh" {
  description = "How to reach the instance."
  value       = one([for instance in aws_instance.development : "ssh ec2-user@${instance.public_ip}"])
}

output "services_toml" {
  description = "A manifest for devsup: terraform output -raw services_toml > services.toml"
  value       = <<-EOT
    name = "${var.prefix}"

    [aws]
    region = "${var.region}"
    base_role = "${aws_iam_role.role1.arn}"

    [services.s3-example]
    command = 'while :; do aws s3 ls s3://${aws_s3_bucket.production.bucket}/ && echo "listed the bucket"; sleep 20; done'
    role = "${aws_iam_role.role2.arn}"
  EOT
}
