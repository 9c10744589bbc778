// The soak: `npm run soak -- --minutes N`.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/soak/soak.ts'],
    pool: 'forks',
    maxWorkers: 1,
    hookTimeout: 60_000,
    allowOnly: false,
    disableConsoleIntercept: true,
  },
})
