// `parley gateway`: one of many, sharing messages, presence and quotas through Redis.
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { openRedisBroker } from '../broker/redis/open.js'
import { defaultHandshakesPerSecond } from '../gateway/http/handshake-limiter.js'
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
import { systemClock } from '../time.js'
import { listenOrExplain } from './listen.js'
import { endsByTheList } from './exit-codes.js'
import { countOf, installationOf, portOf, windowOf, withRedisFiles } from './options.js'
import { keyPairFiles, readKeyPair, type KeyPair } from './certificates.js'
import { RedisParts, type RedisOptions } from './redis-links.js'
import { Renewal } from './reloading-file.js'
import { readCluster, readFleet } from './cluster-stats.js'
import { openCatalog } from './gateway-catalog.js'
import { serveUntil } from './serving.js'
import { untilSignal } from './signals.js'

interface GatewayOptions extends RedisOptions {
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
  /** Seconds; 0: never. */
  readonly rebalanceWindow: number
  /** In a second. */
  readonly handshakeRate: number
  readonly allowPrivateJwks: boolean
  readonly logLevel: LogLevel
}

export function gatewayCommand(): Command {
  const command = withRedisFiles(
    new Command('gateway')
      .description('Run one of many gateways that share a Redis.')
      .requiredOption(
        '--redis <url>',
        'redis://host, rediss://host, redis+sentinel://host,host,host/master, redis+cluster://host,host; user and password in it, in PARLEY_REDIS_USERNAME and PARLEY_REDIS_PASSWORD, or in a file',
      ),
  )
    .option(
      '--data-nodes <number>',
      'master and replicas together (of one shard in a Cluster), where Redis should not be asked',
      countOf,
    )
    .option('--tenants <folder>', 'manifests; without them the catalog in Redis is followed')
    .option('--sealing-key-file <file>', 'opens the secrets in the catalog: lines of id:base64')
    .option(
      '--installation <name>',
      'which gateways belong together, and which catalog is theirs',
      installationOf,
      'parley',
    )
    .option('--port <number>', 'where clients connect', portOf, 8000)
    .option(
      '--tls-cert-file <file>',
      'clients speak TLS, and are shown this certificate; it is read again when it changes',
    )
    .option('--tls-key-file <file>', 'its key')
    .option('--ops-port <number>', 'where /metrics, /healthz, /readyz and /stats are', portOf, 9090)
    .option('--host <address>', 'the address to listen on', '0.0.0.0')
    .option('--drain-window <seconds>', 'over how long sessions are sent away at the end', windowOf, 20)
    .option('--max-connections <number>', 'of this gateway; more are answered 503', countOf, 50_000)
    .option(
      '--rebalance-window <seconds>',
      'over how long a few sessions at a time are sent to gateways with more room; 0: never',
      windowOf,
      10,
    )
    .option(
      '--handshake-rate <number>',
      'clients let in per second; more are answered 503',
      countOf,
      defaultHandshakesPerSecond,
    )
    .option('--allow-private-jwks', 'let tenants’ JWKS URLs lead to private addresses, and be http', false)
    .addOption(new Option('--log-level <level>').choices(logLevels).default('info'))
  return endsByTheList(command).action(async (options: GatewayOptions) => runGateway(options))
}

async function runGateway(options: GatewayOptions): Promise<void> {
  // From the first moment on: the first process of a container ignores what it has no handler for.
  const asked = untilSignal(process)
  const stop = new AbortController()
  const { signal } = stop
  // Every link listens.
  setMaxListeners(0, signal)
  const gatewayId = `${hostname()}-${randomBytes(3).toString('hex')}`
  const log = createLog({ level: options.logLevel, name: 'parley' }).child({ gateway: gatewayId })
  const redis = new RedisParts(options, { clock: systemClock, log, signal, environment: process.env })
  try {
    await runOn(redis, { options, gatewayId, log, asked, signal })
  } finally {
    // Whatever the reason: nothing of this may keep a process alive that has no more to do.
    stop.abort()
    await redis.ended()
  }
}

/** Resolves when `asked` has and everybody was seen off. Throws ConfigError. */
async function runOn(
  redis: RedisParts,
  life: { options: GatewayOptions; gatewayId: string; log: Log; asked: Promise<void>; signal: AbortSignal },
): Promise<void> {
  const { asked, gatewayId, log, options, signal } = life
  const clock = systemClock
  const { target } = redis
  const createLink = (role: string, prepare: Prepare, shard: Shard): RedisLink =>
    redis.createLink(role, prepare, shard)
  const createCatalogLink = (role: string, prepare: Prepare): RedisLink =>
    redis.createLink(role, prepare, 'catalog')
  const catalog = openCatalog(options, { createLink: createCatalogLink, clock, log })
  const broker = openRedisBroker({
    shards: redis.shards,
    sharded: target.kind === 'cluster',
    createLink,
    clock,
    log,
    gatewayId,
    waitReplicas: ({ locator }) => locator.waitReplicas ?? 1,
    hasReplicas: () => target.kind === 'sentinel' || (target.kind === 'cluster' && redis.waitReplicas() > 0),
  })
  const presence = new RedisPresence({ shards: redis.shards, createLink, clock })
  const ledger = new RedisLedger({
    link: redis.createLink('ledger', loadLedgerScripts, 'quotas'),
    clock,
    log,
    installation: options.installation,
  })
  const certificate = openCertificate(options, log)
  const meter = new UsageMeter(clock)
  const gateway: Gateway = new Gateway({
    broker,
    presence,
    catalog: catalog.catalog,
    ledger,
    clock,
    log,
    allowPrivateJwks: options.allowPrivateJwks,
    sessionsMax: options.maxConnections,
    problems: () => catalog.problems().length,
    troubles: () => [...redis.troubles(), ...catalog.troubles()],
    outages: () => ({ redisAwayMs: redis.awayMs(), catalogAgeMs: catalog.ageMs() }),
    certificateExpiresMs: certificate && (() => certificate.current.expiresMs),
    cluster: () => readCluster(heartbeats),
    count: async () => (await readFleet(heartbeats))?.length,
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
      ready: gateway.unready().length === 0,
      usage: meter.read(gateway.tenants),
    }),
    log,
  })
  catalog.onApplied(() => heartbeats.hurry())

  const server = new GatewayServer(gateway, {
    certificate: certificate?.current,
    handshakesPerSecond: options.handshakeRate,
  })
  certificate?.onRenewed((renewed) => server.replaceCertificate(renewed))
  const ops = new OpsServer(gateway)
  const { host } = options
  const ending = new AbortController()
  const running: Promise<void>[] = []

  // Probes are answered while Redis is waited for; clients are let in when it is there.
  const opsPlace = { what: 'operators', flag: '--ops-port', host, port: options.opsPort }
  const { port: opsPort } = await listenOrExplain(() => ops.listen(options.opsPort, host), opsPlace)
  try {
    if (certificate) running.push(certificate.run(ending.signal))
    log.info({ opsPort }, 'answering probes')
    const reached = redis.check().then(() => true)
    if (!(await Promise.race([reached, asked]))) return
    running.push(catalog.run(ending.signal))
    const place = { what: 'clients', flag: '--port', host, port: options.port }
    const { port } = await listenOrExplain(() => server.listen(options.port, host), place)
    gateway.run(signal)
    ledger.run(signal)
    running.push(heartbeats.run(ending.signal))
    const windowMs = options.rebalanceWindow * 1000
    const fleet = () => readFleet(heartbeats)
    if (windowMs > 0)
      running.push(new Rebalancer(gateway, { id: gatewayId, fleet, windowMs }).run(ending.signal))
    log.info({ port, opsPort }, 'serving')
    await serveUntil(asked, {
      gateway,
      server,
      drainWindowMs: options.drainWindow * 1000,
      // The others are not to count on it any longer.
      onDrain: () => heartbeats.hurry(),
    })
    // Goodbyes need their links: those of the people first, and at the end this gateway's own.
    await presence.close()
    await Promise.all([broker.close(), ledger.close()])
  } finally {
    ending.abort()
    await Promise.all([...running, ops.close()])
  }
}

/** Undefined: TLS ends before the gateway. Throws ConfigError. */
function openCertificate(
  { tlsCertFile, tlsKeyFile }: GatewayOptions,
  log: Log,
): Renewal<KeyPair> | undefined {
  const files = keyPairFiles({ cert: tlsCertFile, key: tlsKeyFile }, '--tls')
  return files && new Renewal({ what: 'certificate for clients', read: () => readKeyPair(files), log })
}
