"""Analytics: who watched what, for how long and how well. No address is kept, and what is not known is not made up."""
