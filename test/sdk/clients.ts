// The clients that the suite is run with: who they are, and how their drivers are started.
import { fileURLToPath } from 'node:url'
import { locatePythonClients } from '../../scripts/python-clients.mjs'

export interface SdkClient {
  /** Of the suite's headings. */
  readonly name: string
  /** Starts a driver. */
  readonly command: readonly string[]
}

const python = [await pythonClients(), fileURLToPath(new URL('python/driver.py', import.meta.url))]

export const clients: readonly SdkClient[] = [
  { name: 'Python in JSON', command: python },
  { name: 'Python in protobuf', command: [...python, '--protobuf'] },
]

async function pythonClients(): Promise<string> {
  const found = await locatePythonClients()
  if (found === undefined) throw new Error('the Python clients are not here: npm run test:sdk fetches them')
  return found
}
