#!/bin/sh
# In MinIO's place: SeaweedFS's S3, a real store with real signatures, on port 9000.
set -eu
user=$(cat "$MINIO_ROOT_USER_FILE")
password=$(cat "$MINIO_ROOT_PASSWORD_FILE")
cat > /tmp/s3.json <<END
{"identities": [{"name": "root", "credentials": [{"accessKey": "$user", "secretKey": "$password"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
exec weed server -dir=/data -ip=127.0.0.1 -ip.bind=0.0.0.0 -s3 -s3.port=9000 -s3.config=/tmp/s3.json \
    -master.volumeSizeLimitMB=256 -volume.max=50 -filer=true
