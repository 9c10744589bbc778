// `parley gateway`: one of many gateways, which share messages, presence and quotas through Redis. `runOn`
// connects the parts.
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { openRedisBroker } from '../broker/redis/open.js'
import { Gateway } from '../gateway/gateway.js'
import { OpsServer } from '../gateway/http/ops-server.js'
import { Rebalancer } from '../gateway/fleet/rebalancer.js'
import { GatewayServer } from '../gateway/http/server.js'
import { UsageMeter } from '../gateway/usage.js'
import { createLog, logLevels, type Log, type LogLevel } from '../log.js'
import { RedisPresence } from '../presence/redis/presence.js'
import type { Prepare, RedisLink } from '../redis/link.js'
import type { Shard } from '../redis/topology/shards.js'
import { Heartbeats } from '../catalog/redis/heartbeats.js'
import { loadLedgerScripts, RedisLedger } from '../quota/redis/ledger.js'
import { RedisRevocations } from '../revocation/redis/store.js'
import { systemClock } from '../time.js'
import { heldBytesMax, processMemoryBytes } from './memory-limit.js'
import { listenOrExplain } from './listen.js'
import { withDocumentedExitCodes } from './exit-codes.js'
import { parseCount, parseInstallation, parsePort, parseWindow, withRedisFiles } from './options.js'
import { keyPairFiles, readKeyPair, type KeyPair } from './certificates.js'
import { RedisLinks, type RedisOptions } from './redis-links.js'
import { ReloadingFiles } from './reloading-file.js'
import { readCluster, readFleet } from './cluster-stats.js'
import { guestSecretsOf, openCatalog } from './gateway-catalog.js'
import { serveUntil } from './serving.js'
import { untilSignal } from './signals.js'
import { serverOptionsOf, withStrangerOptions, type StrangerOptions } from './stranger-options.js'

interface GatewayOptions extends RedisOptions, StrangerOptions {
  readonly tenants?: string
  readonly sealingKeyFile?: string
  readonly installation: string
  readonly host: string
  readonly port: number
  readonly opsPort: number
  readonly tlsCertFile?: string
  readonly tlsKeyFile?: string
  /** Seconds. */
  readonly drainWindow: number
  readonly maxConnections: number
  /** MiB. */
  readonly memoryLimit?: number
  /** Seconds; 0 turns rebalancing off. */
  readonly rebalanceWindow: number
  readonly allowPrivateJwks: boolean
  readonly statsNames: boolean
  readonly logLevel: LogLevel
}

export function gatewayCommand(): Command {
  const command = withRedisFiles(
    new Command('gateway')
      .description('Run one of many gateways that share a Redis.')
      .requiredOption(
        '--redis <url>',
        'redis://host, rediss://host, redis+sentinel://host,host,host/master or redis+cluster://host,host; user and password are in the URL, in PARLEY_REDIS_USERNAME and PARLEY_REDIS_PASSWORD, or in a file',
      ),
  )
    .option(
      '--data-nodes <number>',
      'number of master and replicas together (of one shard in a Cluster); default: as Redis reports it',
      parseCount,
    )
    .option('--tenants <folder>', 'folder of manifests; without it the gateway follows the catalog in Redis')
    .option(
      '--sealing-key-file <file>',
      'keys that open the secrets in the catalog, one id:base64 per line; guest tokens are signed with keys derived from them, so that guests keep their identity on all gateways with this file',
    )
    .option(
      '--installation <name>',
      'name shared by the gateways that belong together, and by their catalog',
      parseInstallation,
      'parley',
    )
    .option('--port <number>', 'port for clients', parsePort, 8000)
    .option(
      '--tls-cert-file <file>',
      'certificate (PEM) for TLS with clients; it is read again when it changes',
    )
    .option('--tls-key-file <file>', 'private key of that certificate (PEM)')
    .option('--ops-port <number>', 'port for /metrics, /healthz, /readyz and /stats', parsePort, 9090)
    .option('--host <address>', 'address to listen on', '0.0.0.0')
    .option(
      '--drain-window <seconds>',
      'time over which sessions are closed when the gateway ends',
      parseWindow,
      20,
    )
    .option(
      '--max-connections <number>',
      'maximum of connections to this gateway; further ones get 503',
      parseCount,
      50_000,
    )
    .option(
      '--memory-limit <MiB>',
      'memory that the process may use; clients may make it hold 30 % of what is above 128 MiB, and when they exceed that, the gateway closes connections of the tenant that holds the most with 3008; default: the limit of the container, or without one half of the machine’s memory, at most 4096',
      parseCount,
    )
    .option(
      '--rebalance-window <seconds>',
      'time over which a few sessions at a time are moved to gateways with fewer; 0 turns this off',
      parseWindow,
      10,
    )
    .option('--allow-private-jwks', 'allow JWKS URLs of tenants with private addresses, and with http', false)
    .option(
      '--stats-names',
      'let /stats name the channels of each tenant that have the most subscribers; by default it shows only how many channels there are, because names of channels often contain names of users',
      false,
    )
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
  return withDocumentedExitCodes(withStrangerOptions(command)).action(async (options: GatewayOptions) =>
    runGateway(options),
  )
}

async function runGateway(options: GatewayOptions): Promise<void> {
  // This comes first, because the first process of a container ignores signals for which it has no handler.
  const stopRequested = untilSignal(process)
  const stop = new AbortController()
  const { signal } = stop
  // Every link adds a listener.
  setMaxListeners(0, signal)
  const gatewayId = `${hostname()}-${randomBytes(3).toString('hex')}`
  const log = createLog({ level: options.logLevel, name: 'parley' }).child({ gateway: gatewayId })
  const redis = new RedisLinks(options, { clock: systemClock, log, signal, environment: process.env })
  try {
    await runOn(redis, { options, gatewayId, log, stopRequested, signal })
  } finally {
    // Open connections to Redis would keep the process alive, so they are closed after success and after
    // failure.
    stop.abort()
    await redis.closed()
  }
}

/**
 * Runs the gateway. Resolves when a stop was requested and all sessions are closed. Throws ConfigError when a
 * port or file cannot be used.
 */
async function runOn(
  redis: RedisLinks,
  parts: {
    options: GatewayOptions
    gatewayId: string
    log: Log
    stopRequested: Promise<void>
    signal: AbortSignal
  },
): Promise<void> {
  const { stopRequested, gatewayId, log, options, signal } = parts
  const clock = systemClock
  const { target } = redis
  const createLink = (role: string, prepare: Prepare, shard: Shard): RedisLink =>
    redis.createLink(role, prepare, shard)
  const createCatalogLink = (role: string, prepare: Prepare): RedisLink =>
    redis.createLink(role, prepare, 'catalog')
  const catalog = openCatalog(options, { createLink: createCatalogLink, clock, log })
  const hasReplicas = (): boolean =>
    target.kind === 'sentinel' || (target.kind === 'cluster' && redis.waitReplicas() > 0)
  const broker = openRedisBroker({
    shards: redis.shards,
    sharded: target.kind === 'cluster',
    createLink,
    clock,
    log,
    gatewayId,
    waitReplicas: ({ locator }) => locator.waitReplicas ?? 1,
    hasReplicas,
  })
  const presence = new RedisPresence({ shards: redis.shards, createLink, clock })
  const ledger = new RedisLedger({
    link: redis.createLink('ledger', loadLedgerScripts, 'quotas'),
    clock,
    log,
    installation: options.installation,
  })
  const revocations = new RedisRevocations({
    createLink: (role, prepare) => redis.createLink(role, prepare, 'revocations'),
    installation: options.installation,
    waitReplicas: () => (hasReplicas() ? redis.waitReplicas() : 0),
    clock,
    log,
  })
  const certificate = openClientCertificate(options, log)
  const meter = new UsageMeter(clock, (tenantId) => broker.storage.storedBytes(tenantId))
  const gateway: Gateway = new Gateway({
    broker,
    presence,
    catalog: catalog.catalog,
    ledger,
    revocations,
    clock,
    log,
    allowPrivateJwks: options.allowPrivateJwks,
    guestSecrets: guestSecretsOf(options),
    sessionsMax: options.maxConnections,
    memoryBytesMax: heldBytesMax(
      options.memoryLimit === undefined ? processMemoryBytes() : options.memoryLimit * 1_048_576,
    ),
    unauthenticatedLimits: { max: options.unauthenticatedMax, perAddress: options.unauthenticatedPerAddress },
    problems: () => catalog.problems().length,
    unavailableReasons: () => [
      ...redis.unreadyReasons(),
      ...catalog.unreadyReasons(),
      ...revocations.unreadyReasons(),
    ],
    dependencyStatus: () => ({ redisAwayMs: redis.unavailableMs(), catalogAgeMs: catalog.ageMs() }),
    certificateExpiresMs: certificate && (() => certificate.current.expiresMs),
    cluster: () => readCluster(heartbeats),
    countGateways: async () => (await readFleet(heartbeats))?.length,
  })
  const heartbeats = new Heartbeats({
    createLink: createCatalogLink,
    installation: options.installation,
    id: gatewayId,
    startedAtMs: clock.epochMs(),
    report: () => ({
      version: catalog.version(),
      problems: catalog.problems(),
      connections: gateway.context.sessions.size,
      ready: gateway.unreadyReasons().length === 0,
      usage: meter.read(gateway.tenants),
    }),
    log,
  })
  catalog.onApplied(() => heartbeats.sendNow())

  const server = new GatewayServer(gateway, {
    certificate: certificate?.current,
    ...serverOptionsOf(options),
  })
  certificate?.onChange((renewed) => server.replaceCertificate(renewed))
  const ops = new OpsServer(gateway, { statsNames: options.statsNames })
  const { host } = options
  const ending = new AbortController()
  const running: Promise<void>[] = []

  // Probes are answered while the process waits for Redis; clients are served when Redis is available.
  const opsAddress = { what: 'operators', flag: '--ops-port', host, port: options.opsPort }
  const { port: opsPort } = await listenOrExplain(() => ops.listen(options.opsPort, host), opsAddress)
  try {
    if (certificate) running.push(certificate.run(ending.signal))
    log.info({ opsPort }, 'answering probes')
    const reached = redis.check().then(() => true)
    if (!(await Promise.race([reached, stopRequested]))) return
    running.push(catalog.run(ending.signal), revocations.run(ending.signal))
    const address = { what: 'clients', flag: '--port', host, port: options.port }
    const { port } = await listenOrExplain(() => server.listen(options.port, host), address)
    gateway.run(signal)
    ledger.run(signal)
    running.push(heartbeats.run(ending.signal))
    const windowMs = options.rebalanceWindow * 1000
    const fleet = () => readFleet(heartbeats)
    const loads = () => readFleet(heartbeats, { usage: true })
    if (windowMs > 0)
      running.push(new Rebalancer(gateway, { id: gatewayId, fleet, loads, windowMs }).run(ending.signal))
    log.info({ port, opsPort }, 'serving')
    await serveUntil(stopRequested, {
      gateway,
      server,
      drainWindowMs: options.drainWindow * 1000,
      // Sends a heartbeat now, so that the other gateways know immediately that this one is not ready.
      onDrain: () => heartbeats.sendNow(),
    })
    // Removing the clients from presence and this gateway from the ledger needs links that are still open.
    await presence.close()
    await Promise.all([broker.close(), ledger.close()])
  } finally {
    ending.abort()
    await Promise.all([...running, ops.close()])
  }
}

/**
 * Returns the certificate for clients, or undefined when TLS ends before the gateway. @throws ConfigError
 * when a file cannot be used.
 */
function openClientCertificate(
  { tlsCertFile, tlsKeyFile }: GatewayOptions,
  log: Log,
): ReloadingFiles<KeyPair> | undefined {
  const files = keyPairFiles({ cert: tlsCertFile, key: tlsKeyFile }, '--tls')
  return files && new ReloadingFiles({ what: 'certificate for clients', read: () => readKeyPair(files), log })
}
