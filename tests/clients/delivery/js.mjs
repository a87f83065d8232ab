// The JS SDK as a service: one long life, one line for each use of its credentials.
import { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";

const s3 = new S3Client({ maxAttempts: 1, forcePathStyle: true });
for (;;) {
  let said;
  try {
    await s3.send(new ListObjectsV2Command({ Bucket: "bucket1" }));
    said = { key: (await s3.config.credentials()).accessKeyId };
  } catch (error) {
    said = { error: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(said));
  await new Promise((resolve) => setTimeout(resolve, 500));
}
