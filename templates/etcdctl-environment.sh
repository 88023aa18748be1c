# Written by the charm: a root shell on this unit can run etcdctl as it is.
if [ "$(id -u)" = 0 ]; then
    # The v3 API is the default since etcdctl 3.4; 3.6 and later complain of being told.
    unset ETCDCTL_API
    export ETCDCTL_ENDPOINTS={endpoint}
    export ETCDCTL_CACERT={common}/ca.crt
    export ETCDCTL_CERT={common}/client.crt
    export ETCDCTL_KEY={common}/client.key
    case ":$PATH:" in *:/snap/bin:*) ;; *) export PATH="$PATH:/snap/bin" ;; esac
    etcdctl() { {etcdctl} "$@"; }
fi
