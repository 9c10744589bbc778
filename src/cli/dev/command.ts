// `parley dev`: one gateway in one process, with tenants from a folder, messages in memory, and a chat page.
import { hostname } from 'node:os'
import { Command, Option } from 'commander'
import { mintToken } from '../../auth/mint.js'
import { MemoryBroker, MemoryBrokerData } from '../../broker/memory.js'
import { Gateway } from '../../gateway/gateway.js'
import { OpsServer } from '../../gateway/http/ops-server.js'
import { hostProblem } from '../../gateway/http/known-hosts.js'
import { defaultRequestRates } from '../../gateway/http/plain-requests.js'
import { GatewayServer } from '../../gateway/http/server.js'
import { defaultUnauthenticatedLimits } from '../../gateway/http/unauthenticated-sockets.js'
import { defaultHandshakeRates } from '../../gateway/http/websocket-endpoints.js'
import { createLog, logLevels, type LogLevel } from '../../log.js'
import { MemoryPresence } from '../../presence/memory.js'
import { compileManifests } from '../../compile/manifests.js'
import { FilesCatalog } from '../../catalog/files.js'
import { systemClock } from '../../time.js'
import { banner, type BannerTenant } from './banner.js'
import { devPages } from './pages.js'
import { suggestedClaims } from './tenants.js'
import { badInputExitCode, withDocumentedExitCodes } from '../exit-codes.js'
import { listenOrExplain } from '../listen.js'
import { parseWindow, parsePort } from '../options.js'
import { serveUntil, showProblems } from '../serving.js'
import { untilSignal } from '../signals.js'
import { publicHostsOption } from '../stranger-options.js'

interface DevOptions {
  readonly tenants: string
  readonly host: string
  readonly port: number
  readonly opsPort: number
  readonly publicHosts: readonly string[]
  /** Seconds. */
  readonly drainWindow: number
  readonly logLevel: LogLevel
}

export function devCommand(): Command {
  const command = new Command('dev')
    .description(
      'Run a gateway on this machine, with tenants from a folder of manifests, messages in memory, and a chat page.',
    )
    .option(
      '--tenants <folder>',
      'folder of manifests: ChatPlan, ChatTenant, ChatCredential, Secret',
      'manifests/samples',
    )
    .option('--port <number>', 'port for clients', parsePort, 8000)
    .option('--ops-port <number>', 'port for /metrics, /healthz, /readyz and /stats', parsePort, 9090)
    .option('--host <address>', 'address to listen on; 0.0.0.0 accepts other machines', '127.0.0.1')
    .option(
      '--drain-window <seconds>',
      'time over which sessions are closed when the gateway ends',
      parseWindow,
      0,
    )
    .addOption(publicHostsOption())
    .addOption(new Option('--log-level <level>').choices(logLevels).default('warn'))
    // Excess arguments are refused below, with a better explanation.
    .allowExcessArguments()
  return withDocumentedExitCodes(command).action(async (options: DevOptions) => {
    const problem = misplacedOption(command.args)
    if (problem !== undefined) command.error(`error: ${problem}`, { exitCode: badInputExitCode })
    await dev(options)
  })
}

async function dev(options: DevOptions): Promise<void> {
  const stop = new AbortController()
  const log = createLog({ level: options.logLevel, name: 'parley' })
  const clock = systemClock
  const catalog = FilesCatalog.open(options.tenants, { compile: compileManifests })
  const brokerData = new MemoryBrokerData({ clock })
  const presence = new MemoryPresence({ clock })
  const gateway = new Gateway({
    broker: new MemoryBroker(brokerData),
    presence,
    catalog,
    clock,
    log,
    // A developer's identity provider usually runs on the same machine.
    allowPrivateJwks: true,
    // One developer may open all of them.
    unauthenticatedLimits: { perAddress: defaultUnauthenticatedLimits.max },
    problems: () => catalog.problems.length,
  })
  const server = new GatewayServer(gateway, {
    handshakeRates: { perSecond: defaultHandshakeRates.perSecond },
    requestRates: { perSecond: defaultRequestRates.perSecond },
    // Other machines of the network open the page under the name of this one.
    publicHosts: [...options.publicHosts, ...[hostname(), `${hostname()}.local`].filter(isHostName)],
    extraPages: devPages(gateway, { webFolder: new URL('../../web/', import.meta.url) }),
  })
  const ops = new OpsServer(gateway, { statsNames: true })

  const address = await listenOrExplain(() => server.listen(options.port, options.host), {
    what: 'clients',
    flag: '--port',
    ...options,
  })
  const opsPort = await ops.listen(options.opsPort, options.host).then(
    ({ port }) => port,
    // The same pages are on the clients' port, so a Prometheus that uses 9090 does not prevent the start.
    () => undefined,
  )
  for (const part of [brokerData, presence, gateway]) part.run(stop.signal)
  const watching = catalog.run(stop.signal)

  process.stdout.write(
    banner({
      host: options.host,
      port: address.port,
      opsPort,
      folder: options.tenants,
      tenants: await bannerTenants(gateway, catalog),
      problems: catalog.problems.length > 0,
    }),
  )
  showProblems(catalog)
  await serveUntil(untilSignal(process), { gateway, server, drainWindowMs: options.drainWindow * 1000 })
  await ops.close()
  stop.abort()
  await watching
}

function isHostName(name: string): boolean {
  return hostProblem(name) === undefined
}

/** Returns the tenants for the banner, with a token and an API key where a tenant has samples of them. */
async function bannerTenants(gateway: Gateway, catalog: FilesCatalog): Promise<BannerTenant[]> {
  return Promise.all(
    [...gateway.tenants].map(async (tenant) => {
      const { policy } = tenant
      const issuer = policy.issuers.find(({ key }) => key.type === 'SharedKey' && key.sample)
      const claims = suggestedClaims(policy)
      const token =
        issuer &&
        (await mintToken(issuer, { user: 'alice', claims, expiresInS: 12 * 3600, nowMs: Date.now() }))
      const { displayName } = policy
      const apiKey = catalog.sampleApiKey(tenant.key)
      return { key: tenant.key, displayName, guests: tenant.tokens.allowsGuests, claims, token, apiKey }
    }),
  )
}

/**
 * Detects `npm start --port 9000`, where npm consumes the option: its environment contains the option, and
 * 9000 remains as an argument. Returns a message for the user, or undefined.
 */
function misplacedOption([extra]: readonly string[]): string | undefined {
  for (const name of ['port', 'ops_port', 'host', 'tenants', 'drain_window', 'public_hosts', 'log_level']) {
    const value = process.env[`npm_config_${name}`]
    const flag = `--${name.replace('_', '-')}`
    // `npm start` itself passes --tenants.
    if (value === undefined || (flag !== '--tenants' && process.argv.includes(flag))) continue
    const meant = value === 'true' ? (extra ?? '…') : value
    return `npm consumed ${flag}: write "npm start -- ${flag} ${meant}", with two dashes before the options`
  }
  return extra === undefined
    ? undefined
    : `"${extra}" does not belong to an option: parley dev --help lists the options`
}
