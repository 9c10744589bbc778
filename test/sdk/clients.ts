// The clients that the suite is run with: who they are, and how their drivers are started.
import { fileURLToPath } from 'node:url'
import { locateJavaDriver } from '../../scripts/java-client.mjs'
import { locatePythonClients } from '../../scripts/python-clients.mjs'

export interface SdkClient {
  /** Of the suite's headings. */
  readonly name: string
  /** Starts a driver. */
  readonly command: readonly string[]
  /** What the SDK has no word for when it subscribes; or that it does not come back by itself when its token for a channel is refused as expired. */
  readonly lacks: readonly ('delta' | 'since' | 'tagsFilter' | 'again after 109')[]
}

const python = [await pythonClients(), fileURLToPath(new URL('python/driver.py', import.meta.url))]

export const clients: readonly SdkClient[] = [
  { name: 'Python in JSON', command: python, lacks: [] },
  { name: 'Python in protobuf', command: [...python, '--protobuf'], lacks: [] },
  {
    name: 'Java in protobuf',
    command: await javaDriver(),
    lacks: ['delta', 'since', 'tagsFilter', 'again after 109'],
  },
]

export async function pythonClients(): Promise<string> {
  const found = await locatePythonClients()
  if (found === undefined) throw new Error('the Python clients are not here: npm run test:sdk fetches them')
  return found
}

async function javaDriver(): Promise<readonly string[]> {
  const found = await locateJavaDriver()
  if (found === undefined) throw new Error('the Java client is not here: npm run test:sdk fetches it')
  return found
}
