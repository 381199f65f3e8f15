"""What a simulated annotator asks: vocabulary, phrases, clicks and corrections."""
