//! The messages of Kubernetes' Container Runtime Interface (runtime.v1) that
//! tests send and read: field numbers, names and kinds. A star is a list.
//!
//! Left out is what is Windows', SELinux's or deprecated.

pub const MESSAGES: &str = "\
VersionRequest: 1 version text
VersionResponse: 1 version text, 2 runtime_name text, 3 runtime_version text, 4 runtime_api_version text
RunPodSandboxRequest: 1 config PodSandboxConfig, 2 runtime_handler text
PodSandboxConfig: 1 metadata PodSandboxMetadata, 2 hostname text, 3 log_directory text, 4 dns_config DNSConfig, 6 labels map, 7 annotations map, 8 linux LinuxPodSandboxConfig
PodSandboxMetadata: 1 name text, 2 uid text, 3 namespace text, 4 attempt number
DNSConfig: 1 servers text*, 2 searches text*, 3 options text*
LinuxPodSandboxConfig: 1 cgroup_parent text, 2 security_context LinuxSandboxSecurityContext, 3 sysctls map, 4 overhead LinuxContainerResources, 5 resources LinuxContainerResources
LinuxSandboxSecurityContext: 1 namespace_options NamespaceOption, 3 run_as_user Int64Value, 8 run_as_group Int64Value, 4 readonly_rootfs bool, 5 supplemental_groups number*, 11 supplemental_groups_policy number, 6 privileged bool, 9 seccomp SecurityProfile, 10 apparmor SecurityProfile
NamespaceOption: 1 network number, 2 pid number, 3 ipc number, 4 target_id text, 5 userns_options UserNamespace
UserNamespace: 1 mode number, 2 uids IDMapping*, 3 gids IDMapping*
IDMapping: 1 host_id number, 2 container_id number, 3 length number
Int64Value: 1 value number
SecurityProfile: 1 profile_type number, 2 localhost_ref text
LinuxContainerResources: 1 cpu_period number, 2 cpu_quota number, 3 cpu_shares number, 4 memory_limit_in_bytes number, 5 oom_score_adj number, 6 cpuset_cpus text, 7 cpuset_mems text, 9 unified map, 10 memory_swap_limit_in_bytes number
RunPodSandboxResponse: 1 pod_sandbox_id text
StopPodSandboxRequest: 1 pod_sandbox_id text
StopPodSandboxResponse:
RemovePodSandboxRequest: 1 pod_sandbox_id text
RemovePodSandboxResponse:
PodSandboxStatusRequest: 1 pod_sandbox_id text, 2 verbose bool
PodSandboxStatusResponse: 1 status PodSandboxStatus, 2 info map, 3 containers_statuses ContainerStatus*, 4 timestamp number
PodSandboxStatus: 1 id text, 2 metadata PodSandboxMetadata, 3 state number, 4 created_at number, 5 network PodSandboxNetworkStatus, 6 linux LinuxPodSandboxStatus, 7 labels map, 8 annotations map, 9 runtime_handler text
PodSandboxNetworkStatus: 1 ip text, 2 additional_ips PodIP*
PodIP: 1 ip text
LinuxPodSandboxStatus: 1 namespaces Namespace
Namespace: 2 options NamespaceOption
ContainerStatus: 1 id text, 2 metadata ContainerMetadata, 3 state number, 4 created_at number, 5 started_at number, 6 finished_at number, 7 exit_code number, 8 image ImageSpec, 9 image_ref text, 10 reason text, 11 message text, 12 labels map, 13 annotations map, 14 mounts Mount*, 15 log_path text, 16 resources ContainerResources, 17 image_id text, 18 user ContainerUser
ContainerMetadata: 1 name text, 2 attempt number
ImageSpec: 1 image text, 2 annotations map, 18 user_specified_image text, 19 runtime_handler text
Mount: 1 container_path text, 2 host_path text, 3 readonly bool, 4 selinux_relabel bool, 5 propagation number, 6 uidMappings IDMapping*, 7 gidMappings IDMapping*, 8 recursive_read_only bool, 9 image ImageSpec
ContainerResources: 1 linux LinuxContainerResources
ContainerUser: 1 linux LinuxContainerUser
LinuxContainerUser: 1 uid number, 2 gid number, 3 supplemental_groups number*
ListPodSandboxRequest: 1 filter PodSandboxFilter
PodSandboxFilter: 1 id text, 2 state PodSandboxStateValue, 3 label_selector map
PodSandboxStateValue: 1 state number
ListPodSandboxResponse: 1 items PodSandbox*
PodSandbox: 1 id text, 2 metadata PodSandboxMetadata, 3 state number, 4 created_at number, 5 labels map, 6 annotations map, 7 runtime_handler text
CreateContainerRequest: 1 pod_sandbox_id text, 2 config ContainerConfig, 3 sandbox_config PodSandboxConfig
ContainerConfig: 1 metadata ContainerMetadata, 2 image ImageSpec, 3 command text*, 4 args text*, 5 working_dir text, 6 envs KeyValue*, 7 mounts Mount*, 8 devices Device*, 9 labels map, 10 annotations map, 11 log_path text, 12 stdin bool, 13 stdin_once bool, 14 tty bool, 15 linux LinuxContainerConfig
KeyValue: 1 key text, 2 value text
Device: 1 container_path text, 2 host_path text, 3 permissions text
LinuxContainerConfig: 1 resources LinuxContainerResources, 2 security_context LinuxContainerSecurityContext
LinuxContainerSecurityContext: 1 capabilities Capability, 2 privileged bool, 3 namespace_options NamespaceOption, 5 run_as_user Int64Value, 12 run_as_group Int64Value, 6 run_as_username text, 7 readonly_rootfs bool, 8 supplemental_groups number*, 17 supplemental_groups_policy number, 11 no_new_privs bool, 13 masked_paths text*, 14 readonly_paths text*, 15 seccomp SecurityProfile, 16 apparmor SecurityProfile
Capability: 1 add_capabilities text*, 2 drop_capabilities text*, 3 add_ambient_capabilities text*
CreateContainerResponse: 1 container_id text
StartContainerRequest: 1 container_id text
StartContainerResponse:
StopContainerRequest: 1 container_id text, 2 timeout number
StopContainerResponse:
RemoveContainerRequest: 1 container_id text
RemoveContainerResponse:
ListContainersRequest: 1 filter ContainerFilter
ContainerFilter: 1 id text, 2 state ContainerStateValue, 3 pod_sandbox_id text, 4 label_selector map
ContainerStateValue: 1 state number
ListContainersResponse: 1 containers Container*
Container: 1 id text, 2 pod_sandbox_id text, 3 metadata ContainerMetadata, 4 image ImageSpec, 5 image_ref text, 6 state number, 7 created_at number, 8 labels map, 9 annotations map, 10 image_id text
ContainerStatusRequest: 1 container_id text, 2 verbose bool
ContainerStatusResponse: 1 status ContainerStatus, 2 info map
UpdateContainerResourcesRequest: 1 container_id text, 2 linux LinuxContainerResources, 4 annotations map
UpdateContainerResourcesResponse:
CheckpointContainerRequest: 1 container_id text, 2 location text, 3 timeout number
CheckpointContainerResponse:
ReopenContainerLogRequest: 1 container_id text
ReopenContainerLogResponse:
ExecSyncRequest: 1 container_id text, 2 cmd text*, 3 timeout number
ExecSyncResponse: 1 stdout bytes, 2 stderr bytes, 3 exit_code number
ExecRequest: 1 container_id text, 2 cmd text*, 3 tty bool, 4 stdin bool, 5 stdout bool, 6 stderr bool
ExecResponse: 1 url text
AttachRequest: 1 container_id text, 2 stdin bool, 3 tty bool, 4 stdout bool, 5 stderr bool
AttachResponse: 1 url text
ContainerStatsRequest: 1 container_id text
ContainerStatsResponse: 1 stats ContainerStats
ContainerStats: 1 attributes ContainerAttributes, 2 cpu CpuUsage, 3 memory MemoryUsage, 4 writable_layer FilesystemUsage, 5 swap SwapUsage
ContainerAttributes: 1 id text, 2 metadata ContainerMetadata, 3 labels map, 4 annotations map
CpuUsage: 1 timestamp number, 2 usage_core_nano_seconds UInt64Value, 3 usage_nano_cores UInt64Value
UInt64Value: 1 value number
MemoryUsage: 1 timestamp number, 2 working_set_bytes UInt64Value, 3 available_bytes UInt64Value, 4 usage_bytes UInt64Value, 5 rss_bytes UInt64Value, 6 page_faults UInt64Value, 7 major_page_faults UInt64Value
FilesystemUsage: 1 timestamp number, 2 fs_id FilesystemIdentifier, 3 used_bytes UInt64Value, 4 inodes_used UInt64Value
FilesystemIdentifier: 1 mountpoint text
SwapUsage: 1 timestamp number, 2 swap_available_bytes UInt64Value, 3 swap_usage_bytes UInt64Value
ListPodSandboxStatsRequest: 1 filter PodSandboxStatsFilter
PodSandboxStatsFilter: 1 id text, 2 label_selector map
ListPodSandboxStatsResponse: 1 stats PodSandboxStats*
PodSandboxStats: 1 attributes PodSandboxAttributes, 2 linux LinuxPodSandboxStats
PodSandboxAttributes: 1 id text, 2 metadata PodSandboxMetadata, 3 labels map, 4 annotations map
LinuxPodSandboxStats: 1 cpu CpuUsage, 2 memory MemoryUsage, 3 network NetworkUsage, 4 process ProcessUsage, 5 containers ContainerStats*
NetworkUsage: 1 timestamp number, 2 default_interface NetworkInterfaceUsage, 3 interfaces NetworkInterfaceUsage*
NetworkInterfaceUsage: 1 name text, 2 rx_bytes UInt64Value, 3 rx_errors UInt64Value, 4 tx_bytes UInt64Value, 5 tx_errors UInt64Value
ProcessUsage: 1 timestamp number, 2 process_count UInt64Value
StatusRequest: 1 verbose bool
StatusResponse: 1 status RuntimeStatus, 2 info map, 3 runtime_handlers RuntimeHandler*, 4 features RuntimeFeatures
RuntimeStatus: 1 conditions RuntimeCondition*
RuntimeCondition: 1 type text, 2 status bool, 3 reason text, 4 message text
RuntimeHandler: 1 name text, 2 features RuntimeHandlerFeatures
RuntimeHandlerFeatures: 1 recursive_read_only_mounts bool, 2 user_namespaces bool
RuntimeFeatures: 1 supplemental_groups_policy bool
RuntimeConfigRequest:
RuntimeConfigResponse: 1 linux LinuxRuntimeConfiguration
LinuxRuntimeConfiguration: 1 cgroup_driver number
";
