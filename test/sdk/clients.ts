// The clients with which the suite runs, and the commands that start their drivers.
import { fileURLToPath } from 'node:url'
import { locateJavaDriver } from '../../scripts/java-client.mjs'
import { locatePythonClients } from '../../scripts/python-clients.mjs'

export interface SdkClient {
  /** Name of the client in test titles. */
  readonly name: string
  /** Command line that starts the driver. */
  readonly command: readonly string[]
  /**
   * Features that the SDK lacks: options of a subscription, or (`again after 109`) a new attempt with a new
   * token after an expired subscription token.
   */
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
  if (found === undefined) throw new Error('the Python clients are missing: npm run test:sdk installs them')
  return found
}

async function javaDriver(): Promise<readonly string[]> {
  const found = await locateJavaDriver()
  if (found === undefined) throw new Error('the Java client is missing: npm run test:sdk installs it')
  return found
}
