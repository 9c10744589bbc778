// Decides which web pages may connect. A browser sends the true origin of a page. Any other client can send
// an arbitrary origin, and is authenticated by its token.

interface Origin {
  readonly scheme: string
  readonly hostname: string
  /** Empty for the default port of the scheme. */
  readonly port: string
}

interface OriginPattern extends Origin {
  /**
   * The entry has `*.` before the host: it matches one or more labels below the host, never the host itself.
   */
  readonly subdomains: boolean
  /** The entry ends with `:*`. */
  readonly anyPort: boolean
}

/**
 * Scheme, `*.`, host (IPv6 in brackets) and port. An origin has no path, no user and nothing after the port.
 */
const entrySyntax =
  /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(\*\.)?([^\s/:?#@\\*[\]]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}|\*))?$/

/** The syntax of an entry as a regular expression for the API server. RE2 and JavaScript read it alike. */
export const originEntrySource = entrySyntax.source

/**
 * Returns whether a page of `origin` (the request header) may connect to `host` (the Host header). An entry
 * of `allowed` is `https://app.example.com[:port]`, `https://*.example.com`, either with any port as `:*`, or
 * `*`. A request without an Origin does not come from a browser and is allowed. Pages of the same host are
 * always allowed. The origin `null` (sandboxed pages, files) and malformed origins are allowed only by `*`.
 */
export function originAllowed(
  origin: string | undefined,
  allowed: readonly string[],
  host: string | undefined,
): boolean {
  if (origin === undefined || allowed.includes('*')) return true
  const page = parseOrigin(origin)
  if (!page) return false
  if (host !== undefined && sameHost(page, host)) return true
  return allowed.some((entry) => {
    const pattern = parsePattern(entry)
    return pattern !== undefined && matchesPattern(page, pattern)
  })
}

/**
 * Returns why an entry of `allowedOrigins` is not valid, as a sentence. Returns undefined when it is valid.
 */
export function originProblem(entry: string): string | undefined {
  if (entry === '*' || parsePattern(entry)) return undefined
  return (
    `"${entry}" is not a valid origin: write "https://app.example.com", ` +
    '"https://*.example.com", "http://localhost:*" or "*", without a path or a trailing slash.'
  )
}

function matchesPattern(page: Origin, pattern: OriginPattern): boolean {
  if (page.scheme !== pattern.scheme) return false
  if (!pattern.anyPort && page.port !== pattern.port) return false
  if (!pattern.subdomains) return page.hostname === pattern.hostname
  // The dot excludes `evil-example.com`, and the length excludes `.example.com`.
  const suffix = `.${pattern.hostname}`
  return page.hostname.endsWith(suffix) && page.hostname.length > suffix.length
}

/**
 * Behind a proxy that terminates TLS the gateway does not know its own scheme, so the scheme of the page is
 * assumed.
 */
function sameHost(page: Origin, host: string): boolean {
  const own = parseOrigin(`${page.scheme}//${host}`)
  return own !== undefined && own.hostname === page.hostname && own.port === page.port
}

function parseOrigin(text: string): Origin | undefined {
  const pattern = parsePattern(text)
  return pattern && !pattern.subdomains && !pattern.anyPort ? pattern : undefined
}

/**
 * The URL parser lower-cases names, converts international names to punycode and drops default ports, on both
 * sides alike.
 */
function parsePattern(text: string): OriginPattern | undefined {
  const [, scheme = '', star, host = '', port = ''] = entrySyntax.exec(text) ?? []
  const anyPort = port === '*'
  const address = `${scheme}://${host}${port === '' || anyPort ? '' : `:${port}`}`
  if (host === '' || !URL.canParse(address)) return undefined
  const url = new URL(address)
  return {
    scheme: url.protocol,
    hostname: url.hostname.toLowerCase(),
    port: url.port,
    subdomains: star !== undefined,
    anyPort,
  }
}
