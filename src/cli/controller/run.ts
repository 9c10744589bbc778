// The life of `parley controller`, from its parts to its exit code. Imported when it is wanted: with it comes the Kubernetes client.
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { isPublicAddress } from '../../auth/address-guard.js'
import { NotLeadingError } from '../../kube/api-error.js'
import { FencedError } from '../../controller/catalog/publisher.js'
import { Controller, LostLeadershipError } from '../../controller/controller.js'
import type { GatewayFleet } from '../../controller/scaling/scale-in.js'
import { ConfigError } from '../../errors.js'
import { listen, closeServer } from '../../gateway/http/listen.js'
import { createLog, type Log } from '../../log.js'
import { ControllerMetrics } from '../../metrics-controller.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import { systemAfter, systemClock } from '../../time.js'
import { controllerOps } from './ops.js'
import type { ControllerCommandOptions } from './command.js'
import { temporaryExitCode } from '../exit-codes.js'
import { readSealingKeys } from '../gateway-catalog.js'
import { listenOrExplain } from '../listen.js'
import { RedisParts } from '../redis-links.js'
import { untilSignal } from '../signals.js'
import { version } from '../version.js'

/** For a connection to each master. */
const purgeWaitMs = 5_000

/** Resolves when it was asked to end, and has. Throws ConfigError. */
export async function runController(options: ControllerCommandOptions): Promise<void> {
  // From the first moment on: the first process of a container ignores what it has no handler for.
  const asked = untilSignal(process)
  const stop = new AbortController()
  const { signal } = stop
  setMaxListeners(0, signal)
  const identity = options.identity ?? `${hostname()}_${randomBytes(4).toString('hex')}`
  const log = createLog({ level: options.logLevel, name: 'parley' }).child({ controller: identity })
  const namespace = options.namespace ?? ownNamespace()
  const fleet = fleetOf(options, namespace)
  const sealing = readSealingKeys(options.sealingKeyFile)
  const redis = new RedisParts(options, { clock: systemClock, log, signal, environment: process.env })
  const metrics = new ControllerMetrics()
  // What a tenant leaves lies on all masters.
  const purging = new PerShard(redis.shards, (shard) => redis.createLink('purge', undefined, shard))
  try {
    const controller = new Controller({
      version,
      kubeconfig: options.kubeconfig,
      lease: { namespace, name: options.leaseName },
      identity,
      installation: options.installation,
      sealing,
      takesOver: options.takeOver,
      fleet,
      publicUrl: options.publicUrl,
      addressProblem: (uri) => (options.allowPrivateJwks ? undefined : privateAddress(uri)),
      createLink: (role, prepare) => redis.createLink(role, prepare, 'catalog'),
      masters: () => Promise.all(redis.shards.shards.map((shard) => purging.of(shard).ready(purgeWaitMs))),
      metrics,
      clock: systemClock,
      after: systemAfter,
      log,
    })
    await runOn({ asked, controller, log, metrics, options, redis })
  } catch (error) {
    const isLost = error instanceof LostLeadershipError || error instanceof NotLeadingError
    if (!isLost && !(error instanceof FencedError)) throw error
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
  options: ControllerCommandOptions
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
    await closeServer(server)
  }
}

/** Throws ConfigError. Undefined: nothing scales the gateways. */
function fleetOf(options: ControllerCommandOptions, namespace: string): GatewayFleet | undefined {
  const { gatewayHpa: autoscaler, gatewaySelector: selector } = options
  if (autoscaler === undefined && selector === undefined) return undefined
  if (autoscaler !== undefined && selector !== undefined) return { namespace, autoscaler, selector }
  throw new ConfigError(['--gateway-hpa and --gateway-selector go together: give both, or neither'])
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
