// A port that cannot be had is the most common way to fail at start: it deserves a sentence.
import { ConfigError } from '../errors.js'

const explanations: Readonly<Record<string, { text: string; flag?: string }>> = {
  EADDRINUSE: { text: 'is taken by another program: stop that one or choose another port' },
  EACCES: { text: 'may not be opened by this user: choose one above 1023' },
  EADDRNOTAVAIL: {
    text: 'cannot be opened at this address: it is none of this machine’s',
    flag: '--host',
  },
  ENOTFOUND: { text: 'cannot be opened: nobody knows an address of that name', flag: '--host' },
}

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
