# CONTEXT {'gpu_vendor': 'CPU', 'guest_os': 'UBUNTU'}
ARG BASE_DOCKER=madrun-test-base
FROM $BASE_DOCKER
RUN --mount=type=secret,id=MAD_SECRETS_HFTOKEN,required=true \
    sha256sum < /run/secrets/MAD_SECRETS_HFTOKEN > /etc/token.sha256
RUN --mount=type=secret,id=ZOO_LOGIN_PASSWORD,required=true \
    sha256sum < /run/secrets/ZOO_LOGIN_PASSWORD > /etc/password.sha256
ARG ZOO_LOGIN_USERNAME
RUN echo "$ZOO_LOGIN_USERNAME" > /etc/login
