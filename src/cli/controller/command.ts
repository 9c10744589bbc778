// `parley controller`: turns the cluster's ChatTenants into what gateways enforce. Several may run; one leads.
import { setFlagsFromString } from 'node:v8'
import { Command, Option } from 'commander'
import type { PublicUrl } from '../../controller/credentials/endpoints.js'
import { logLevels, type LogLevel } from '../../log.js'
import { endsByTheList } from '../exit-codes.js'
import { countOf, installationOf, portOf, publicUrlOf, withRedisFiles } from '../options.js'
import type { RedisOptions } from '../redis-links.js'

export interface ControllerCommandOptions extends RedisOptions {
  readonly sealingKeyFile: string
  readonly installation: string
  readonly publicUrl?: PublicUrl
  readonly kubeconfig?: string
  readonly namespace?: string
  readonly leaseName: string
  readonly identity?: string
  readonly gatewayHpa?: string
  readonly gatewaySelector?: string
  readonly takeOver?: string
  readonly host: string
  readonly opsPort: number
  readonly allowPrivateJwks: boolean
  readonly logLevel: LogLevel
}

export function controllerCommand(): Command {
  const command = withRedisFiles(
    new Command('controller')
      .description('Keep what gateways enforce as the cluster’s ChatTenants want it.')
      .requiredOption('--redis <url>', 'the gateways’ Redis, as they are given it'),
  )
    .option(
      '--data-nodes <number>',
      'master and replicas together, where Sentinel should not be asked',
      countOf,
    )
    .requiredOption('--sealing-key-file <file>', 'seals the secrets in the catalog: lines of id:base64')
    .option('--installation <name>', 'which gateways’ catalog it writes', installationOf, 'parley')
    .option(
      '--public-url <url>',
      'where clients reach the gateways, as in wss://chat.example.com',
      publicUrlOf,
    )
    .option('--kubeconfig <file>', 'default: KUBECONFIG, ~/.kube/config, or the pod’s service account')
    .option('--namespace <name>', 'of the lease; default: the pod’s own, else default')
    .option('--lease-name <name>', 'of the lease that says which controller leads', 'parley-controller')
    .option(
      '--identity <name>',
      'of this controller in the lease; default: the host’s name and a random part',
    )
    .option(
      '--gateway-hpa <name>',
      'the gateways’ HorizontalPodAutoscaler, beside the lease: before it takes pods, the emptiest are put first',
    )
    .option('--gateway-selector <labels>', 'of the gateways’ pods, with --gateway-hpa')
    .option('--take-over <cluster>', 'a cluster that is gone for good, whose catalog is to be this cluster’s')
    .option('--ops-port <number>', 'where /metrics, /metrics/tenants, /healthz and /readyz are', portOf, 9091)
    .option('--host <address>', 'the address to listen on', '0.0.0.0')
    .option(
      '--allow-private-jwks',
      'accept JWKS URLs that lead to private addresses, as the gateways do',
      false,
    )
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
  return endsByTheList(command).action(async (options: ControllerCommandOptions) => {
    // It waits more than it works: V8 is to collect early, not to grow. Before anything else fills the heap.
    setFlagsFromString('--optimize-for-size')
    // Only now: the Kubernetes client takes half a second and 75 MB, and no gateway is to pay for that.
    const { runController } = await import('./run.js')
    await runController(options)
  })
}
