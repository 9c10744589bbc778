// `parley controller`: compiles the cluster's ChatTenants into policies for the gateways. Several controllers
// may run, and one of them leads.
import { setFlagsFromString } from 'node:v8'
import { Command, Option } from 'commander'
import { logLevels } from '../../log.js'
import { withDocumentedExitCodes } from '../exit-codes.js'
import {
  parseBetween,
  parseCount,
  parseInstallation,
  parsePort,
  parsePublicUrl,
  withRedisFiles,
} from '../options.js'
import type { ControllerCommandOptions } from './options.js'

export function controllerCommand(): Command {
  const command = withRedisFiles(
    new Command('controller')
      .description('Compile the cluster’s ChatTenants into the policies that the gateways enforce.')
      .requiredOption('--redis <url>', 'Redis of the gateways: the same URL as theirs'),
  )
    .option(
      '--data-nodes <number>',
      'number of master and replicas together; default: as Redis reports it',
      parseCount,
    )
    .requiredOption(
      '--sealing-key-file <file>',
      'keys that seal the secrets in the catalog, one id:base64 per line',
    )
    .option(
      '--installation <name>',
      'name of the installation whose catalog it writes',
      parseInstallation,
      'parley',
    )
    .option(
      '--public-url <url>',
      'address at which clients reach the gateways, as in wss://chat.example.com',
      parsePublicUrl,
    )
    .option(
      '--kubeconfig <file>',
      'file to use; default: KUBECONFIG, ~/.kube/config, or the service account of the pod',
    )
    .option('--namespace <name>', 'namespace of the lease; default: the pod’s own namespace, else "default"')
    .option(
      '--lease-name <name>',
      'name of the lease that decides which controller leads',
      'parley-controller',
    )
    .option(
      '--identity <name>',
      'name of this controller in the lease; default: the host name and a random part',
    )
    .option(
      '--gateway-hpa <name>',
      'HorizontalPodAutoscaler of the gateways, in the lease’s namespace; before it removes pods, those with the fewest connections are marked to go first',
    )
    .option('--gateway-selector <labels>', 'label selector of the gateway pods; required with --gateway-hpa')
    .option(
      '--take-over <cluster>',
      'id of a cluster that no longer exists, whose catalog this cluster takes over',
    )
    .option(
      '--workers <number>',
      'objects of each kind that are reconciled at the same time (1 to 64); one namespace occupies at most half of them, and two more are kept for changes that take rights away',
      parseBetween(1, 64),
      8,
    )
    .option(
      '--kube-api-qps <number>',
      'calls per second to the API server over a longer time (5 to 1000)',
      parseBetween(5, 1_000),
      100,
    )
    .option(
      '--kube-api-burst <number>',
      'calls to the API server that may start immediately after an idle time (1 to 5000); default: twice --kube-api-qps',
      parseBetween(1, 5_000),
    )
    .option(
      '--ops-port <number>',
      'port for /metrics, /metrics/tenants, /healthz and /readyz',
      parsePort,
      9091,
    )
    .option('--host <address>', 'address to listen on', '0.0.0.0')
    .option(
      '--allow-private-jwks',
      'accept JWKS URLs with private addresses; give the gateways the same option',
      false,
    )
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
  return withDocumentedExitCodes(command).action(async (options: ControllerCommandOptions) => {
    // The controller is idle most of the time, so V8 should collect early rather than grow. This must be set
    // before the heap grows.
    setFlagsFromString('--optimize-for-size')
    // Imported only here: the Kubernetes client takes half a second and 75 MB, which a gateway does not need.
    const { runController } = await import('./run.js')
    await runController(options)
  })
}
