// Two gateways that read their tenants from the catalog in Redis, and a writer of that catalog.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CatalogWriter } from '../../src/catalog/redis/writer.js'
import { endPrograms } from './child-process.js'
import { GatewayProcess, startGateways } from './gateway-process.js'
import { keyLineA, openWriter } from './redis-catalog.js'
import { endLinks } from './redis-links.js'
import { endRedisProcesses, startRedis } from './redis-processes.js'

const installation = 'prod/parley'

export class CatalogGateways {
  readonly gateways: readonly [GatewayProcess, GatewayProcess]
  readonly writer: CatalogWriter
  readonly #url: string
  readonly #folder: string

  private constructor(parts: {
    gateways: readonly [GatewayProcess, GatewayProcess]
    writer: CatalogWriter
    url: string
    folder: string
  }) {
    this.gateways = parts.gateways
    this.writer = parts.writer
    this.#url = parts.url
    this.#folder = parts.folder
  }

  /** Starts Redis and the gateways. The catalog does not exist yet. */
  static async start(): Promise<CatalogGateways> {
    const url = `redis://127.0.0.1:${(await startRedis()).port}`
    const folder = await mkdtemp(join(tmpdir(), 'parley-keys-'))
    const args = await catalogArgs(folder, keyLineA)
    const [a, b] = await startGateways(2, { redis: url, args })
    if (!a || !b) throw new Error('unreachable: two gateways were started')
    const { writer } = await openWriter({ url, installation })
    return new CatalogGateways({ gateways: [a, b], writer, url, folder })
  }

  /** Starts another gateway, which opens secrets with the key in `keyLine`. */
  async addGateway(keyLine = keyLineA): Promise<GatewayProcess> {
    return GatewayProcess.start({ redis: this.#url, args: await catalogArgs(this.#folder, keyLine) })
  }

  /** Stops the gateways, and all other programs, links and Redis processes of the test file. */
  async stop(): Promise<void> {
    await endLinks()
    await endPrograms()
    await endRedisProcesses()
    await rm(this.#folder, { recursive: true })
  }
}

async function catalogArgs(folder: string, keyLine: string): Promise<string[]> {
  const file = join(folder, keyLine.slice(0, 1))
  await writeFile(file, `${keyLine}\n`)
  return ['--sealing-key-file', file, '--installation', installation]
}
