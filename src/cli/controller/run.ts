// Runs `parley controller`. This file is imported dynamically, because it loads the Kubernetes client.
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
import type { ControllerCommandOptions } from './options.js'
import { temporaryExitCode } from '../exit-codes.js'
import { readSealingKeys } from '../gateway-catalog.js'
import { listenOrExplain } from '../listen.js'
import { RedisLinks } from '../redis-links.js'
import { untilSignal } from '../signals.js'
import { version } from '../version.js'

/** How long a purge waits for a connection to each master. */
const purgeWaitMs = 5_000

/** Runs until the process is asked to end. @throws ConfigError for a configuration that cannot be used. */
export async function runController(options: ControllerCommandOptions): Promise<void> {
  // This comes first, because the first process of a container ignores signals for which it has no handler.
  const stopRequested = untilSignal(process)
  const stop = new AbortController()
  const { signal } = stop
  setMaxListeners(0, signal)
  const identity = options.identity ?? `${hostname()}_${randomBytes(4).toString('hex')}`
  const log = createLog({ level: options.logLevel, name: 'parley' }).child({ controller: identity })
  const namespace = options.namespace ?? ownNamespace()
  const fleet = fleetOf(options, namespace)
  const sealing = readSealingKeys(options.sealingKeyFile)
  const redis = new RedisLinks(options, { clock: systemClock, log, signal, environment: process.env })
  const metrics = new ControllerMetrics()
  // A deleted tenant has data on all masters.
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
      workers: options.workers,
      apiCalls: {
        perSecond: options.kubeApiQps,
        burst: options.kubeApiBurst ?? 2 * options.kubeApiQps,
      },
      masters: () => Promise.all(redis.shards.shards.map((shard) => purging.of(shard).ready(purgeWaitMs))),
      metrics,
      clock: systemClock,
      after: systemAfter,
      log,
    })
    await runOn({ stopRequested, controller, log, metrics, options, redis })
  } catch (error) {
    const isLost = error instanceof LostLeadershipError || error instanceof NotLeadingError
    if (!isLost && !(error instanceof FencedError)) throw error
    log.error({ reason: error.message }, 'another controller leads')
    // The process exits immediately, because the other controller is responsible for all writes now.
    process.exit(temporaryExitCode)
  } finally {
    stop.abort()
    await redis.closed()
  }
}

/** Runs the controller. Resolves when a stop was requested and the lease has been released. */
async function runOn(parts: {
  stopRequested: Promise<void>
  controller: Controller
  log: Log
  metrics: ControllerMetrics
  options: ControllerCommandOptions
  redis: RedisLinks
}): Promise<void> {
  const { stopRequested, controller, log, metrics, options, redis } = parts
  const { host } = options
  let checked = false
  const health = {
    // A standby does not use Redis, but a standby that could never lead must not be ready.
    unready: () => [...(checked ? [] : redis.unreadyReasons()), ...controller.unready()],
    dead: () => controller.dead(),
    get leading() {
      return controller.leading
    },
  }
  const server = controllerOps(health, metrics)
  const address = { what: 'operators', flag: '--ops-port', host, port: options.opsPort }
  const { port: opsPort } = await listenOrExplain(
    () => listen(server, { port: options.opsPort, host }),
    address,
  )
  try {
    log.info({ opsPort }, 'answering probes')
    const ending = new AbortController()
    setMaxListeners(0, ending.signal)
    const ended = stopRequested.then(() => ending.abort())
    const reached = redis.check().then(() => true)
    if (!(await Promise.race([reached, stopRequested]))) return
    checked = true
    log.info({ opsPort }, 'taking part in the leader election')
    await controller.run(ending.signal)
    await ended
  } finally {
    await closeServer(server)
  }
}

/**
 * Returns the gateways that an autoscaler scales, or undefined when there is no autoscaler. @throws
 * ConfigError when only one option is given.
 */
function fleetOf(options: ControllerCommandOptions, namespace: string): GatewayFleet | undefined {
  const { gatewayHpa: autoscaler, gatewaySelector: selector } = options
  if (autoscaler === undefined && selector === undefined) return undefined
  if (autoscaler !== undefined && selector !== undefined) return { namespace, autoscaler, selector }
  throw new ConfigError(['--gateway-hpa and --gateway-selector go together: give both, or neither'])
}

function ownNamespace(): string {
  const fromEnvironment = process.env['POD_NAMESPACE']
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  try {
    return readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/namespace', 'utf8').trim()
  } catch {
    return 'default'
  }
}

/**
 * Returns why the literal address in a URL is refused, or undefined. Host names are checked each time they
 * are resolved for a fetch.
 */
function privateAddress(uri: string): string | undefined {
  if (!URL.canParse(uri)) return undefined
  const { hostname: host } = new URL(uri)
  const address = host.replace(/^\[|\]$/g, '')
  const isPrivate = isIP(address) !== 0 ? !isPublicAddress(address) : /(^|\.)localhost$/.test(address)
  return isPrivate ? `"${address}" is an address of the cluster’s own network` : undefined
}
