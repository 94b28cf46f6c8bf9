/** What the cluster benchmark asks of a contestant. */
export interface ClusterContestant {
  /** Connects. */
  open(url: string): Promise<void>;
  /** Doubles one number. */
  one(number: number): Promise<number>;
  /** Doubles each number in a task of its own, all submitted in one go. */
  single(numbers: number[]): Promise<number[]>;
  /** Doubles numbers by so many a job; without a number, as the contestant would by itself. */
  chunked(numbers: number[], chunkSize?: number): Promise<number[]>;
}
