// `parley controller`: turns the cluster's ChatTenants into what gateways enforce. Several may run; one leads.
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { isIP } from 'node:net'
import { isPublicAddress } from '../auth/address-guard.js'
import { FencedError } from '../controller/catalog-keeper.js'
import { Controller, LostLeadershipError } from '../controller/controller.js'
import type { PublicUrl } from '../controller/endpoints.js'
import { listen, shut } from '../gateway/listen.js'
import { createLog, logLevels, type Log, type LogLevel } from '../log.js'
import { ControllerMetrics } from '../metrics-controller.js'
import { systemAfter, systemClock } from '../time.js'
import { controllerOps } from './controller-ops.js'
import { endsByTheList, temporaryExitCode } from './exit-codes.js'
import { readSealingKeys } from './gateway-catalog.js'
import { listenOrExplain } from './listen.js'
import { countOf, installationOf, portOf, publicUrlOf } from './options.js'
import { RedisParts, redisTarget } from './redis-parts.js'
import { untilSignal } from './signals.js'
import { version } from './version.js'

interface ControllerOptions {
  readonly redis: string
  readonly redisPasswordFile?: string
  readonly dataNodes?: number
  readonly sealingKeyFile: string
  readonly installation: string
  readonly publicUrl?: PublicUrl
  readonly kubeconfig?: string
  readonly namespace?: string
  readonly leaseName: string
  readonly identity?: string
  readonly takeOver?: string
  readonly host: string
  readonly opsPort: number
  readonly allowPrivateJwks: boolean
  readonly logLevel: LogLevel
}

export function controllerCommand(): Command {
  const command = new Command('controller')
    .description('Keep what gateways enforce as the cluster’s ChatTenants want it.')
    .requiredOption('--redis <url>', 'the gateways’ Redis, as they are given it')
    .option('--redis-password-file <file>', 'holds the password alone')
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
    .option('--take-over <cluster>', 'a cluster that is gone for good, whose catalog is to be this cluster’s')
    .option('--ops-port <number>', 'where /metrics, /healthz and /readyz are', portOf, 9091)
    .option('--host <address>', 'the address to listen on', '0.0.0.0')
    .option(
      '--allow-private-jwks',
      'accept JWKS URLs that lead to private addresses, as the gateways do',
      false,
    )
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
  return endsByTheList(command).action(async (options: ControllerOptions) => runController(options))
}

async function runController(options: ControllerOptions): Promise<void> {
  // From the first moment on: the first process of a container ignores what it has no handler for.
  const asked = untilSignal(process)
  const stop = new AbortController()
  const { signal } = stop
  setMaxListeners(0, signal)
  const identity = options.identity ?? `${hostname()}_${randomBytes(4).toString('hex')}`
  const log = createLog({ level: options.logLevel, name: 'parley' }).child({ controller: identity })
  const sealing = readSealingKeys(options.sealingKeyFile)
  const target = redisTarget(options, process.env)
  const redis = new RedisParts(target, { clock: systemClock, log, signal, dataNodes: options.dataNodes })
  const metrics = new ControllerMetrics()
  try {
    const controller = new Controller({
      version,
      kubeconfig: options.kubeconfig,
      lease: { namespace: options.namespace ?? ownNamespace(), name: options.leaseName },
      identity,
      installation: options.installation,
      sealing,
      takesOver: options.takeOver,
      publicUrl: options.publicUrl,
      addressProblem: (uri) => (options.allowPrivateJwks ? undefined : privateAddress(uri)),
      createLink: (role, prepare) => redis.createLink(role, prepare),
      metrics,
      clock: systemClock,
      after: systemAfter,
      log,
    })
    await runOn({ asked, controller, log, metrics, options, redis })
  } catch (error) {
    if (!(error instanceof LostLeadershipError || error instanceof FencedError)) throw error
    log.error({ reason: error.message }, 'another controller leads')
    // At once: whatever is still under way is not this one's any more.
    process.exit(temporaryExitCode)
  } finally {
    stop.abort()
    await redis.ended()
  }
}

/** Resolves when `asked` has and the lease was handed over. */
async function runOn(life: {
  asked: Promise<void>
  controller: Controller
  log: Log
  metrics: ControllerMetrics
  options: ControllerOptions
  redis: RedisParts
}): Promise<void> {
  const { asked, controller, log, metrics, options, redis } = life
  const { host } = options
  let checked = false
  const health = {
    // A standby needs no Redis, but one that could never lead should say so.
    unready: () => [...(checked ? [] : redis.troubles()), ...controller.unready()],
    dead: () => controller.dead(),
    get leading() {
      return controller.leading
    },
  }
  const server = controllerOps(health, metrics)
  const place = { what: 'operators', flag: '--ops-port', host, port: options.opsPort }
  const { port: opsPort } = await listenOrExplain(
    () => listen(server, { port: options.opsPort, host }),
    place,
  )
  try {
    log.info({ opsPort }, 'answering probes')
    const ending = new AbortController()
    setMaxListeners(0, ending.signal)
    const ended = asked.then(() => ending.abort())
    const reached = redis.check().then(() => true)
    if (!(await Promise.race([reached, asked]))) return
    checked = true
    log.info({ opsPort }, 'standing for election')
    await controller.run(ending.signal)
    await ended
  } finally {
    await shut(server)
  }
}

function ownNamespace(): string {
  const told = process.env['POD_NAMESPACE']
  if (told !== undefined && told !== '') return told
  try {
    return readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/namespace', 'utf8').trim()
  } catch {
    return 'default'
  }
}

/** Only what the address itself tells: names are looked at when they are fetched, and each time. */
function privateAddress(uri: string): string | undefined {
  if (!URL.canParse(uri)) return undefined
  const { hostname: host } = new URL(uri)
  const address = host.replace(/^\[|\]$/g, '')
  const isPrivate = isIP(address) !== 0 ? !isPublicAddress(address) : /(^|\.)localhost$/.test(address)
  return isPrivate ? `"${address}" is an address of the cluster’s own network` : undefined
}
