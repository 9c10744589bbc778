// Explains why a port cannot be opened, which is the most common failure at start.
import { ConfigError } from '../errors.js'

const explanations: Readonly<Record<string, { text: string; flag?: string }>> = {
  EADDRINUSE: { text: 'is in use by another program: stop that program or choose another port' },
  EACCES: { text: 'may not be opened by this user: choose a port above 1023' },
  EADDRNOTAVAIL: {
    text: 'cannot be opened: this machine does not have that address',
    flag: '--host',
  },
  ENOTFOUND: { text: 'cannot be opened: the host name does not resolve to an address', flag: '--host' },
}

/** Calls `listen`. @throws ConfigError with a sentence for the common reasons; other errors pass through. */
export async function listenOrExplain<Address>(
  listen: () => Promise<Address>,
  options: { what: string; flag: string; host: string; port: number },
): Promise<Address> {
  try {
    return await listen()
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
    const explanation = explanations[code]
    if (explanation === undefined) throw error
    throw new ConfigError([
      `Port ${options.port} of ${options.host} (${options.what}) ${explanation.text} (${explanation.flag ?? options.flag})`,
    ])
  }
}
